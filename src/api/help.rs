//! What `alikms help ACTION` prints, made from the doc comments of the requests.

use schemars::Schema;
use serde_json::Value;

use super::Entry;

/// One parameter of an action.
pub struct Parameter {
    pub name: String,
    pub required: bool,
    /// What is to be written: `TEXT`, `NUMBER`, `BASE64`, `true|false`, or `NAME` for one of `values`.
    pub kind: &'static str,
    /// What it means, one paragraph.
    pub text: String,
    /// All values that are possible, where they are a list.
    pub values: Vec<String>,
}

/// The parameters of an action, those that are needed first.
pub fn parameters(entry: &Entry) -> Vec<Parameter> {
    let schema = entry.schema();
    let required: Vec<_> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema.get("properties").and_then(Value::as_object);
    let mut parameters: Vec<_> = fields
        .into_iter()
        .flatten()
        .map(|(name, field)| Parameter {
            name: name.clone(),
            required: required.contains(&name.as_str()),
            kind: kind(field),
            text: paragraphs(field.get("description")).join(" "),
            values: values(field),
        })
        .collect();
    parameters.sort_by(|a, b| b.required.cmp(&a.required).then_with(|| a.name.cmp(&b.name)));
    parameters
}

/// The first sentence of an action's description.
pub fn summary(entry: &Entry) -> String {
    let text = description(&entry.schema()).into_iter().next().unwrap_or_default();
    let end = text.find([':', ';', '.']).unwrap_or(text.len());
    format!("{}.", &text[..end])
}

/// A command that shows how the action is called.
pub fn example(entry: &Entry) -> Option<String> {
    let text =
        description(&entry.schema()).into_iter().find_map(|text| text.strip_prefix("Example: ").map(str::to_owned))?;
    Some(text.trim_matches('`').to_owned())
}

/// The whole help of an action.
pub fn text(entry: &Entry) -> String {
    let parameters = parameters(entry);
    let mut out = String::new();
    for paragraph in description(&entry.schema()).iter().filter(|text| !text.starts_with("Example: ")) {
        out += &wrap(paragraph, 0);
        out.push('\n');
    }
    let usage: String = parameters
        .iter()
        .map(|parameter| match parameter.required {
            true => format!(" --{} {}", parameter.name, parameter.kind),
            false => format!(" [--{} {}]", parameter.name, parameter.kind),
        })
        .collect();
    out += &format!("Usage:\n{}", wrap(&format!("alikms {}{usage}", entry.name), 2));
    for parameter in &parameters {
        let needed = if parameter.required { " (needed)" } else { "" };
        out += &format!(
            "\n  --{} {}{needed}\n{}",
            parameter.name,
            parameter.kind,
            wrap(&parameter.text.replace('`', ""), 6)
        );
        if !parameter.values.is_empty() {
            out += &wrap(&format!("Values: {}.", parameter.values.join(", ")), 6);
        }
    }
    if let Some(example) = example(entry) {
        out += &format!("\nExample:\n  {example}\n");
    }
    out
}

/// `text` in lines of at most 100 characters, behind `indent` blanks; ends with a newline.
pub fn wrap(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut out = String::new();
    let mut line = margin.clone();
    for word in text.split_whitespace() {
        if line.len() + word.len() >= 100 && line.len() > indent {
            out += line.trim_end();
            out.push('\n');
            line.clone_from(&margin);
        }
        line += word;
        line.push(' ');
    }
    out += line.trim_end();
    out.push('\n');
    out
}

fn description(schema: &Schema) -> Vec<String> {
    paragraphs(schema.get("description"))
}

fn paragraphs(text: Option<&Value>) -> Vec<String> {
    let text = text.and_then(Value::as_str).unwrap_or_default();
    text.split("\n\n").map(|paragraph| paragraph.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")).collect()
}

fn kind(field: &Value) -> &'static str {
    let is = |name: &str| match field.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    match () {
        () if !values(field).is_empty() => "NAME",
        () if is("integer") => "NUMBER",
        () if is("boolean") => "true|false",
        () if field.get("contentEncoding").is_some() => "BASE64",
        () => "TEXT",
    }
}

fn values(field: &Value) -> Vec<String> {
    let own = field.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let own = own.chain(field.get("const").and_then(Value::as_str)).map(str::to_owned);
    let nested = ["anyOf", "oneOf"].iter().filter_map(|name| field.get(name)?.as_array()).flatten().flat_map(values);
    own.chain(nested).collect()
}
