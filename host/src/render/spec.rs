//! A module's spec for people: what it says beside the defaults, one field a line.

use roadstead_domain::ModuleSpec;
use serde_json::Value;

/// What of a spec is not the default; all of it is in the JSON.
pub(crate) fn lines(spec_json: &str) -> String {
    let Ok(spec) = serde_json::from_str::<Value>(spec_json) else {
        return format!("  spec      {spec_json}\n");
    };
    let usual = serde_json::to_value(ModuleSpec::default()).unwrap_or_default();
    let mut found = Vec::new();
    differences("", &spec, &usual, &mut found);
    if found.is_empty() {
        found.push("the defaults".to_owned());
    }
    found.iter().map(|field| format!("  spec      {field}\n")).collect()
}

fn differences(path: &str, value: &Value, usual: &Value, found: &mut Vec<String>) {
    if value == usual || matches!(path, "name" | "version") {
        return;
    }
    let Value::Object(fields) = value else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        found.push(format!("{path}: {text}"));
        return;
    };
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        differences(&path, value, usual.get(name).unwrap_or(&Value::Null), found);
    }
}

#[cfg(test)]
mod tests {
    use roadstead_domain::SpecFormat;

    use super::*;

    #[test]
    fn only_what_is_not_the_default_is_said() {
        let text = "name: m\nlimits: {memory: 1Gi}\nquota: {cpu: 1.5}\ncapabilities: {env: {A: b}}";
        let spec = ModuleSpec::parse(text, SpecFormat::Yaml).unwrap();
        let said = lines(&serde_json::to_string(&spec).unwrap());
        let wanted = ["capabilities.env.A: b", "limits.memory: 1Gi", "quota.cpu: 1500m"];
        let said: Vec<_> =
            said.lines().map(|line| line.trim_start_matches("  spec      ")).collect();
        let mut sorted = said.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, wanted);
        let usual = serde_json::to_string(&ModuleSpec::default()).unwrap();
        assert_eq!(lines(&usual), "  spec      the defaults\n");
    }
}
