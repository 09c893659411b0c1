//! `managedFields`, which an API server adds before it asks a webhook: who set which field.

use serde_json::{Map, Value, json};

/// The entry of one manager who created all of an object.
pub(super) fn fields(manager: &str, object: &Value) -> Value {
    let mut owned = Map::new();
    for key in ["metadata", "spec"] {
        let part = object.get(key).and_then(Value::as_object);
        owned.insert(format!("f:{key}"), part.map_or(json!({}), members));
    }
    json!([{
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-11-20T08:14:31Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }])
}

fn members(map: &Map<String, Value>) -> Value {
    let fields = map.iter();
    let fields = fields.filter(|(key, _)| !["name", "namespace", "uid"].contains(&key.as_str()));
    fields
        .map(|(key, value)| (format!("f:{key}"), owned(key, value)))
        .collect()
}

/// Lists whose entries have a key are merged by it; other lists are owned as a whole.
fn owned(name: &str, value: &Value) -> Value {
    let key = match name {
        "containers" | "initContainers" | "env" | "volumes" => "name",
        "volumeMounts" => "mountPath",
        "ports" => "containerPort",
        "ownerReferences" => "uid",
        _ => "",
    };
    match value {
        Value::Object(map) => {
            let mut fields = members(map);
            if let Some(fields) = fields.as_object_mut() {
                fields.insert(".".to_owned(), json!({}));
            }
            fields
        }
        Value::Array(entries) if !key.is_empty() => {
            let entries = entries.iter().filter_map(|entry| {
                let own = entry.get(key)?;
                Some((format!("k:{}", json!({key: own})), owned("", entry)))
            });
            entries.collect()
        }
        _ => json!({}),
    }
}
