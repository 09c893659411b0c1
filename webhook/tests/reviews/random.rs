//! Through the pure part, at random.

use procview_webhook::mutate::{Outcome, Selected};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::{mutator, review};

/// Answers a review and checks what every answer must be; gives the pod after the patch.
fn answer(review: &Value) -> Option<(Outcome, Value)> {
    let body = serde_json::to_vec(review).expect("JSON");
    let reviewed = mutator().review(&body, Selected::Enabled).ok()?;
    let answer = serde_json::to_value(&reviewed.answer).expect("JSON");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
    let response = &answer["response"];
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert_eq!(response["allowed"], true);
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let warning = warning.as_str().expect("a text");
        assert!(warning.len() <= 256 && !warning.contains(|c: char| !(' '..='~').contains(&c)));
    }
    let mut pod = review["request"]["object"].clone();
    match &reviewed.answer.response.patch {
        None => assert!(response.get("patchType").is_none()),
        Some(patch) => {
            assert_eq!(response["patchType"], "JSONPatch");
            let patch: json_patch::Patch = serde_json::from_slice(&patch.0).expect("a patch");
            json_patch::patch(&mut pod, &patch).expect("the patch applies");
        }
    }
    Some((reviewed.outcome, pod))
}

/// What the API server would refuse: volumes of one name, mounts of one path, mounts of no volume.
fn is_valid(pod: &Value) -> bool {
    let texts = |list: &Value, key: &str| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| item[key].as_str().map(str::to_owned))
            .collect()
    };
    let unique = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list.windows(2).all(|pair| pair[0] != pair[1])
    };
    let volumes = texts(&pod["spec"]["volumes"], "name");
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][list].as_array());
    let mounts_are_good = |container: &Value| {
        let mounts = &container["volumeMounts"];
        unique(&texts(mounts, "mountPath"))
            && texts(mounts, "name")
                .iter()
                .all(|name| volumes.contains(name))
    };
    unique(&volumes) && containers.flatten().all(mounts_are_good)
}

/// Values for the fields that rules read, sound and odd ones.
fn container() -> impl Strategy<Value = Value> {
    let name = select(vec!["app", "istio-proxy", "db", ""]);
    let paths = select(vec![
        "/proc/meminfo",
        "/proc/meminfo/",
        "/proc",
        "/sys",
        "/data",
        "/var/lib",
        "/var/lib/procview",
        "/sys/devices/system/cpu/cpu0",
        "relative",
    ]);
    let volume = select(vec!["data", "procview", "procview-meminfo", "procview-cpu"]);
    let mounts = prop::collection::vec((volume, paths), 0..4);
    let privileged = select(vec![json!(null), json!(true), json!(false)]);
    (name, mounts, privileged, any::<bool>()).prop_map(|(name, mounts, privileged, absent)| {
        let mounts: Vec<_> = mounts
            .into_iter()
            .map(|(name, path)| json!({"name": name, "mountPath": path, "subPath": "x"}))
            .collect();
        let mut container = json!({
            "name": name, "image": "x", "securityContext": {"privileged": privileged},
            "volumeMounts": mounts, "futureField": {"a": [1, null]},
        });
        if absent {
            container
                .as_object_mut()
                .expect("an object")
                .remove("volumeMounts");
        }
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let annotations = select(vec![
        json!(null),
        json!({}),
        json!({"procview.dev/inject": "true"}),
        json!({"procview.dev/inject": "what", "procview.dev/containers": "app,-db"}),
        json!({"procview.dev/files": "meminfo,vmstat,nonsense\u{e9}\n"}),
        json!({"procview.dev/status": "injected: app"}),
        json!({"mutating.lxcfs-admission-webhook.io/enable": "off"}),
    ]);
    let hostile = ["data", "procview", "procview-meminfo", "procview-cpu"].map(|name| {
        let ours = json!({"name": name, "hostPath": {"path": match name {
            "procview" => "/var/lib/procview",
            "procview-meminfo" => "/var/lib/procview/view/proc/meminfo",
            _ => "/var/lib/procview/view/sys/devices/system/cpu",
        }}});
        let other = json!({"name": name, "emptyDir": {}});
        prop::option::weighted(0.5, prop_oneof![3 => Just(ours), 1 => Just(other)])
    });
    let spec = select(vec![
        json!({}),
        json!({"hostPID": true}),
        json!({"hostUsers": false}),
        json!({"runtimeClassName": "kata"}),
        json!({"os": {"name": "windows"}}),
        json!({"hostNetwork": true, "os": null, "nodeSelector": null}),
    ]);
    let containers = || prop::collection::vec(container(), 0..4);
    (
        annotations,
        hostile,
        spec,
        [containers(), containers(), containers()],
    )
        .prop_map(
            |(annotations, volumes, mut spec, [init, main, ephemeral])| {
                let volumes: Vec<_> = volumes.into_iter().flatten().collect();
                if !volumes.is_empty() {
                    spec["volumes"] = volumes.into();
                }
                spec["initContainers"] = init.into();
                spec["containers"] = main.into();
                spec["ephemeralContainers"] = ephemeral.into();
                let metadata = json!({"name": "p", "annotations": annotations});
                let mut pod = json!({"metadata": metadata, "spec": spec});
                drop_invalid_mounts(&mut pod);
                pod
            },
        )
}

/// Keeps those of the mounts that the API server would let pass.
fn drop_invalid_mounts(pod: &mut Value) {
    let volumes = pod["spec"]["volumes"].clone();
    let volumes = volumes.as_array().cloned().unwrap_or_default();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mounts = container.get_mut("volumeMounts");
            let mut paths = Vec::new();
            if let Some(mounts) = mounts.and_then(Value::as_array_mut) {
                mounts.retain(|mount| {
                    let path = mount["mountPath"].clone();
                    let is_new = !paths.contains(&path);
                    paths.push(path);
                    is_new && volumes.iter().any(|volume| volume["name"] == mount["name"])
                });
            }
        }
    }
}

/// Anything that JSON can be, where something else was expected.
fn junk() -> impl Strategy<Value = Value> {
    let deep = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    select(vec![
        json!(null),
        json!(true),
        json!(-1.5e300),
        json!("\u{0}\u{202e}text"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([null, {}]),
        json!({"": {"~1/": []}}),
        deep(100),
    ])
}

/// Puts junk in place of one node of a document.
fn spoil(document: &mut Value, place: &Index, junk: Value) {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }
    fn nth<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
        if *n == 0 {
            return Some(value);
        }
        *n -= 1;
        match value {
            Value::Array(items) => items.iter_mut().find_map(|item| nth(item, n)),
            Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, n)),
            _ => None,
        }
    }
    let mut n = place.index(count(document));
    *nth(document, &mut n).expect("there are that many") = junk;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Also: what is patched once needs no other patch.
    #[test]
    fn a_valid_pod_stays_valid(pod in pod()) {
        prop_assert!(is_valid(&pod), "{pod}");
        let (outcome, patched) = answer(&review(&pod, &Value::Null)).expect("an answer");
        prop_assert!(outcome != Outcome::Failed);
        prop_assert!(is_valid(&patched), "{patched:#}");
        let (again, same) = answer(&review(&patched, &Value::Null)).expect("an answer");
        prop_assert!(again != Outcome::Failed && again != Outcome::Injected);
        prop_assert_eq!(same, patched);
    }

    #[test]
    fn ephemeral_containers_change_nothing_else(mut pod in pod(), before in any::<Index>()) {
        prop_assert!(is_valid(&pod), "{pod}");
        let mut old = pod.clone();
        let added = pod["spec"]["ephemeralContainers"].as_array().map_or(0, Vec::len);
        let kept = before.index(added + 1);
        old["spec"]["ephemeralContainers"].as_array_mut().expect("a list").truncate(kept);
        let (outcome, mut patched) = answer(&review(&pod, &old)).expect("an answer");
        prop_assert!(outcome != Outcome::Failed);
        prop_assert!(is_valid(&patched));
        for index in kept..added {
            for pod in [&mut patched, &mut pod] {
                pod["spec"]["ephemeralContainers"][index] = Value::Null;
            }
        }
        prop_assert_eq!(patched, pod);
    }

    #[test]
    fn hostile_reviews_are_answered_or_refused(
        pod in pod(),
        spoilt in prop::collection::vec((any::<Index>(), junk()), 1..4),
        selected in select(vec!["CREATE", "UPDATE", "DELETE", "CONNECT", "", "create"]),
    ) {
        let mut review = review(&pod, &Value::Null);
        review["request"]["operation"] = selected.into();
        for (place, junk) in spoilt {
            spoil(&mut review, &place, junk);
        }
        // `answer` checks what there is to check.
        let _ = answer(&review);
    }
}
