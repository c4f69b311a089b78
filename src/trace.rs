//! Where events go: nowhere, unless `ALIKMS_TRACE` names a file. Events never carry a PIN, key bytes or data.
