//! Pods as they are when a webhook sees them: defaulted, with what the admission plugins add.

use serde_json::{Value, json};

use super::managed;

pub(super) const NAMESPACE: &str = "shop";

/// A person with a client certificate.
pub(super) fn person() -> Value {
    json!({
        "username": "kubernetes-admin",
        "groups": ["kubeadm:cluster-admins", "system:authenticated"],
        "extra": {
            "authentication.kubernetes.io/credential-id": [
                "X509SHA256=4c1ffb1c9c3bf8a9f0d1f1ac7d15b6a0f3df6f2c0bd6c7b2a2f7f1d2b7ad7e53"
            ],
        },
    })
}

/// A controller of the controller manager, with its own service account.
pub(super) fn controller(name: &str) -> Value {
    json!({
        "username": format!("system:serviceaccount:kube-system:{name}"),
        "uid": "5e1cbb3f-94a1-4b4b-a41c-6b6e62bd1b3c",
        "groups": [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "system:authenticated",
        ],
        "extra": {
            "authentication.kubernetes.io/credential-id": [
                "JTI=8f6b3d7e-2b36-4a58-8b2a-0b7a3c0f1c7d"
            ],
        },
    })
}

/// `kubectl run`.
pub(super) fn small() -> Value {
    let metadata = json!({"name": "shell", "namespace": NAMESPACE, "labels": {"run": "shell"}});
    let container = container("shell", "busybox:1.37");
    pod(metadata, "kubectl-run", &[], &[container], vec![])
}

/// A pod of a deployment.
pub(super) fn medium() -> Value {
    let mut metadata = owned("web-5d9c7b6f4d-", "ReplicaSet", "web-5d9c7b6f4d");
    put(&mut metadata, "generateName", json!("web-5d9c7b6f4d-"));
    let mut web = container("web", "registry.example/shop/web:2.14.3");
    put(
        &mut web,
        "ports",
        json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]),
    );
    put(&mut web, "readinessProbe", probe("/ready"));
    put(&mut web, "livenessProbe", probe("/live"));
    let proxy = container("proxy", "registry.example/mesh/proxy:1.30.1");
    pod(
        metadata,
        "kube-controller-manager",
        &[],
        &[web, proxy],
        vec![],
    )
}

/// A pod of a stateful set with much in it.
pub(super) fn large() -> Value {
    let mut metadata = owned("ledger-0", "StatefulSet", "ledger");
    put(&mut metadata, "name", json!("ledger-0"));
    let containers = ["ledger", "indexer", "exporter", "shipper", "proxy"].map(with_environment);
    let init = ["migrate", "permissions"].map(with_environment);
    let volumes = vec![
        json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-ledger-0"}}),
        json!({"name": "config", "configMap": {"name": "ledger", "defaultMode": 420}}),
        json!({"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
    ];
    pod(
        metadata,
        "kube-controller-manager",
        &init,
        &containers,
        volumes,
    )
}

fn owned(hash: &str, kind: &str, owner: &str) -> Value {
    json!({
        "namespace": NAMESPACE,
        "labels": {
            "app.kubernetes.io/name": "shop",
            "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/version": "2.14.3",
            "pod-template-hash": hash.trim_end_matches('-'),
        },
        "annotations": {
            "checksum/config": "3f1d4b1f0f1d6a3f3c4f1f5f8a3f0e0f1c2b9d8e7f6a5b4c3d2e1f0a9b8c7d6e",
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "9102",
        },
        "ownerReferences": [{
            "apiVersion": "apps/v1",
            "kind": kind,
            "name": owner,
            "uid": "9c7a3a8e-6a39-4b39-9f0e-7f2a3f6f7b61",
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    })
}

fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "resources": {
            "limits": {"cpu": "1500m", "memory": "512Mi"},
            "requests": {"cpu": "250m", "memory": "512Mi"},
        },
        "volumeMounts": [{
            "name": "kube-api-access-x7k2p",
            "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
        },
    })
}

fn with_environment(name: &str) -> Value {
    let mut container = container(name, &format!("registry.example/shop/{name}:7.2.0"));
    let mut environment = vec![
        json!({"name": "POD_IP", "valueFrom": {
            "fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}),
        json!({"name": "DATABASE_PASSWORD", "valueFrom": {
            "secretKeyRef": {"name": "ledger-database", "key": "password"}}}),
    ];
    for number in 0..20 {
        let value = format!("https://service-{number}.shop.svc.cluster.local:8443/v1");
        environment.push(json!({"name": format!("SERVICE_{number}_URL"), "value": value}));
    }
    put(&mut container, "env", environment.into());
    put(&mut container, "livenessProbe", probe("/live"));
    let mounts = container
        .get_mut("volumeMounts")
        .and_then(Value::as_array_mut);
    if let Some(mounts) = mounts {
        for volume in ["data", "config", "scratch"] {
            mounts.push(json!({"name": volume, "mountPath": format!("/srv/{volume}")}));
        }
    }
    container
}

fn probe(path: &str) -> Value {
    json!({
        "httpGet": {"path": path, "port": 8080, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    })
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn pod(
    metadata: Value,
    manager: &str,
    init_containers: &[Value],
    containers: &[Value],
    mut volumes: Vec<Value>,
) -> Value {
    volumes.push(token_volume());
    let tolerations = ["not-ready", "unreachable"].map(|taint| {
        json!({
            "key": format!("node.kubernetes.io/{taint}"),
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        })
    });
    let mut spec = json!({
        "volumes": volumes,
        "containers": containers,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler",
        "tolerations": tolerations,
        "priority": 0,
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
    });
    if !init_containers.is_empty() {
        put(&mut spec, "initContainers", init_containers.into());
    }
    let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec});
    let managed = managed::fields(manager, &pod);
    let metadata = pod.get_mut("metadata");
    if let Some(metadata) = metadata {
        put(
            metadata,
            "uid",
            json!("4b1b3a5e-7d2c-4f0e-8c7b-2f9e5d1a6c3b"),
        );
        put(metadata, "creationTimestamp", json!("2026-11-20T08:14:31Z"));
        put(metadata, "managedFields", managed);
    }
    put(
        &mut pod,
        "status",
        json!({"phase": "Pending", "qosClass": "Burstable"}),
    );
    pod
}

/// What the service account plugin adds.
fn token_volume() -> Value {
    json!({
        "name": "kube-api-access-x7k2p",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
            "defaultMode": 420,
        },
    })
}
