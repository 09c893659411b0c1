//! An Event on the node, where `kubectl describe node` shows it.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Who says it.
const CONTROLLER: &str = "procview.dev/agent";
/// No start or stop waits longer for the API server.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an Event's note can hold, in bytes.
const MOST_NOTE: usize = 1024;

/// Whose Events they are.
#[derive(Debug, Clone)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The agent's pod.
    pub pod: Option<String>,
}

impl Node {
    /// Says that the node has no view, and why. Logs it if the API server does not take it: the
    /// node's trouble is known from the log then.
    pub fn warn_unavailable(&self, why: &str) {
        if let Err(error) = self.tell("ViewUnavailable", why) {
            let error = format!("{error:#}");
            tracing::warn!(node = self.name, error, "cannot write an Event on the node");
        }
    }

    fn tell(&self, reason: &str, note: &str) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: "Mount".to_owned(),
            secondary: None,
        };
        let node = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.name.clone()),
            // As the kubelet does, and as `kubectl describe node` looks for it.
            uid: Some(self.name.clone()),
            ..ObjectReference::default()
        };
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: self.pod.clone(),
        };
        runtime.block_on(async {
            let published = async {
                let client = Client::try_default()
                    .await
                    .context("no way to the API server")?;
                let recorder = Recorder::new(client, reporter);
                Ok(recorder.publish(&event, &node).await?)
            };
            tokio::time::timeout(PATIENCE, published)
                .await
                .context("the API server does not answer")?
        })
    }
}

fn shortened(note: &str) -> String {
    let end = (0..=MOST_NOTE.min(note.len()))
        .rev()
        .find(|end| note.is_char_boundary(*end));
    note[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(shortened("no /dev/fuse"), "no /dev/fuse");
        let long = shortened(&"ö".repeat(600));
        assert_eq!(long.len(), 1024);
        assert_eq!(shortened(&format!("x{}", "ö".repeat(600))).len(), 1023);
    }
}
