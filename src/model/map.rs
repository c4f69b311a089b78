//! Maps that are filled entry by entry. `collect` sorts what it is given before, and each type of entry brings in eight
//! kilobytes of code for that; what is collected here has ten entries.

use std::collections::BTreeMap;

/// Of two entries with the same key the later one stays.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}

/// The same, unless one of them is an error.
pub fn try_map<K: Ord, V, E>(entries: impl IntoIterator<Item = Result<(K, V), E>>) -> Result<BTreeMap<K, V>, E> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry?;
        map.insert(key, value);
    }
    Ok(map)
}
