//! What an API server, or somebody who says to be one, posts to the webhook.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procview_webhook::mutate::{Mutator, Outcome, Selected};
use procview_webhook::volume::Layout;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let mutator = Mutator::new(
        Layout::new("/var/lib/procview"),
        vec!["kube-system".to_owned()],
    );
    for selected in [Selected::Enabled, Selected::PodSecurity] {
        let Ok(reviewed) = mutator.review(body, selected) else {
            continue;
        };
        assert!(reviewed.answer.response.allowed);
        assert!(reviewed.reason != "panic");
        assert!(reviewed.outcome != Outcome::Rejected);
        if let Some(patch) = &reviewed.answer.response.patch {
            // What we do not read may be nested deeper, or larger, than a `Value` can be.
            let Ok(review) = serde_json::from_slice::<Value>(body) else {
                continue;
            };
            let mut pod = review["request"]["object"].clone();
            let patch: json_patch::Patch = serde_json::from_slice(&patch.0).expect("a patch");
            json_patch::patch(&mut pod, &patch).expect("the patch applies");
        }
    }
});
