//! No pod fails because of the webhook, whatever has become of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use procview_tests::webhook::certificate::Authority;

use crate::case::{Case, ENABLED, mounts, pod, status};

/// Creates a pod, which must get no view and take less than `limit`.
fn create_without_view(case: &Case, namespace: &str, name: &str, limit: Duration) -> Result<()> {
    let begin = Instant::now();
    let (pods, _) = case.create(namespace, &pod(name, "", ""))?;
    let took = begin.elapsed();
    assert_eq!(pods[0]["metadata"]["name"], name);
    assert_eq!(status(&pods[0]), "none");
    assert!(mounts(&pods[0], "containers", "app").is_empty());
    ensure!(took < limit, "{name} took {took:?}");
    Ok(())
}

fn wait_until_called(case: &Case, namespace: &str) -> Result<()> {
    let probe = pod("probe", "", "");
    case.wait_for_status(namespace, &probe, |status| status == "injected: app")
}

fn wait_until_not_called(case: &Case, namespace: &str) -> Result<()> {
    case.wait_for_status(namespace, &pod("probe", "", ""), |status| status == "none")
}

#[test]
fn pods_are_created_while_the_webhook_is_killed_or_hangs() -> Result<()> {
    let Some(case) = Case::new("down")? else {
        return Ok(());
    };
    let authority = Authority::new("down")?;
    let server = case.serve(&authority.leaf()?)?;
    case.configure_url(server.port, &authority)?;
    let namespace = case.namespace("", &[ENABLED])?;
    wait_until_called(&case, &namespace)?;
    // It asks for 2 s at most, and is asked a second time at most.
    server.signal(Signal::SIGSTOP)?;
    create_without_view(&case, &namespace, "hung", Duration::from_secs(20))?;
    server.signal(Signal::SIGCONT)?;
    wait_until_called(&case, &namespace)?;
    drop(server);
    create_without_view(&case, &namespace, "killed", Duration::from_secs(20))
}

#[test]
fn pods_are_created_while_the_certificate_is_expired_or_of_another_ca() -> Result<()> {
    let Some(case) = Case::new("expired")? else {
        return Ok(());
    };
    let authority = Authority::new("expired")?;
    let server = case.serve(&authority.expired_leaf()?)?;
    let configuration = case.configure_url(server.port, &authority)?;
    let namespace = case.namespace("", &[ENABLED])?;
    // Nothing shows when the API server knows the configuration: with a good certificate it does.
    let good = case.serve(&authority.leaf()?)?;
    case.configure_url(good.port, &authority)?;
    wait_until_called(&case, &namespace)?;
    case.configure_url(server.port, &authority)?;
    wait_until_not_called(&case, &namespace)?;
    create_without_view(&case, &namespace, "expired", Duration::from_secs(20))?;

    case.configure_url(good.port, &authority)?;
    wait_until_called(&case, &namespace)?;
    case.trust(&configuration, &Authority::new("another")?)?;
    wait_until_not_called(&case, &namespace)?;
    create_without_view(&case, &namespace, "distrusted", Duration::from_secs(20))
}
