//! Tokens and certificates: sent, taken up when they change, and never shown.

use crate::consul::{at, held, of};
use crate::kubernetes::orders;
use crate::support::{Certificates, Watched, anywhere, wait_for};
use insight_agent::collect::discovery::consul::ConsulSource;
use insight_agent::collect::discovery::kubernetes::KubernetesSource;
use insight_agent::model::discovery::LookupClass;
use insight_agent::model::discovery::consul::ConsulPlan;
use insight_agent::model::discovery::kubernetes::KubernetesPlan;
use insight_lab::doubles::{ConsulDouble, Fault, KubernetesDouble};
use std::path::Path;

/// Replaces a file as a whole, as Kubernetes and configuration management do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn consuls_token_is_sent_rotated_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("consul.token");
    replace(&token_file, "s3cret-old\n");
    let double = crate::consul::double().await;
    double.register("orders", at("a", 1));
    double.demand_token(Some("s3cret-old"));
    let source =
        ConsulSource::new(ConsulPlan { token_file: Some(token_file.clone()), ..of(&["orders"], &double) });
    assert!(!format!("{source:?}").contains("s3cret"));
    let mut watched = Watched::start(source);
    watched.until(&["10.0.0.1:1"]).await;
    assert_eq!(double.server.last_authorization().unwrap(), "Bearer s3cret-old");

    held(&double, 1).await;
    double.demand_token(Some("s3cret-new"));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Denied);
    assert!(failure.detail.contains("403: ACL not found: check token_file"), "{failure:?}");
    replace(&token_file, "s3cret-new\n");
    double.register("orders", at("b", 2));
    watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await;
    assert_eq!(double.server.last_authorization().unwrap(), "Bearer s3cret-new");

    held(&double, 1).await;
    // A server that repeats what it was sent.
    double.server.set_fault(Some(Fault::status(403, "token s3cret-new lacks permission")));
    let mut failure = watched.until_failed().await;
    while failure.class != LookupClass::Denied {
        failure = watched.until_failed().await;
    }
    assert!(failure.detail.contains("token *** lacks permission"), "{failure:?}");
    double.server.set_fault(None);
    watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await;

    held(&double, 1).await;
    std::fs::remove_file(&token_file).unwrap();
    double.server.cut();
    let mut failure = watched.until_failed().await;
    while failure.class != LookupClass::Denied {
        failure = watched.until_failed().await;
    }
    assert!(failure.detail.contains("consul.token: No such file"), "{failure:?}");
    assert!(!format!("{:?}", watched.failures).contains("s3cret"));
}

#[tokio::test]
async fn kubernetes_token_is_taken_up_when_it_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    replace(&token_file, "ey.old");
    let double = crate::kubernetes::double().await;
    double.apply(orders("orders-a", &["10.0.0.1"]));
    double.demand_token(Some("ey.old"));
    let plan = KubernetesPlan { token_file: Some(token_file.clone()), ..crate::kubernetes::plan(&double) };
    let mut watched = Watched::start(KubernetesSource::new(plan));
    watched.until(&["10.0.0.1:443"]).await;
    crate::kubernetes::running(&double).await;
    // The file first: an agent that reads it for each request fails not once.
    replace(&token_file, "ey.new");
    double.demand_token(Some("ey.new"));
    wait_for("another watch", || crate::kubernetes::lists_and_watches(&double).1 == 2).await;
    double.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    assert_eq!(watched.failures, []);
    assert_eq!(double.server.last_authorization().unwrap(), "Bearer ey.new");
    double.demand_token(Some("ey.other"));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Denied);
    assert!(failure.detail.contains("401") && !failure.detail.contains("ey.new"), "{failure:?}");
}

#[tokio::test]
async fn with_the_right_certificates_both_are_followed_over_mutual_tls() {
    let files = Certificates::new();
    let tls = Some(files.client("ca.pem", true));
    let consul = ConsulDouble::start(anywhere(), Some(files.server())).await.unwrap();
    consul.register("orders", at("a", 1));
    let plan = ConsulPlan { tls: tls.clone(), ..of(&["orders"], &consul) };
    Watched::start(ConsulSource::new(plan)).until(&["10.0.0.1:1"]).await;

    let kubernetes = KubernetesDouble::start(anywhere(), Some(files.server())).await.unwrap();
    kubernetes.apply(orders("orders-a", &["10.0.0.1"]));
    let plan = KubernetesPlan { tls, ..crate::kubernetes::plan(&kubernetes) };
    let mut watched = Watched::start(KubernetesSource::new(plan));
    watched.until(&["10.0.0.1:443"]).await;
    crate::kubernetes::running(&kubernetes).await;
    kubernetes.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
}

#[tokio::test]
async fn who_is_not_trusted_on_either_side_is_unreachable_until_the_files_are_right() {
    let files = Certificates::new();
    let consul = ConsulDouble::start(anywhere(), Some(files.server())).await.unwrap();
    consul.register("orders", at("a", 1));
    let ca = files.path("rotating-ca.pem");
    std::fs::copy(files.path("other-ca.pem"), &ca).unwrap();
    let plan = |tls| ConsulPlan { tls: Some(tls), ..of(&["orders"], &consul) };

    let mut watched = Watched::start(ConsulSource::new(plan(files.client("rotating-ca.pem", true))));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Unreachable);
    assert!(failure.detail.contains("tls: invalid peer certificate"), "{failure:?}");
    std::fs::copy(files.path("ca.pem"), &ca).unwrap();
    watched.until(&["10.0.0.1:1"]).await;

    let mut watched = Watched::start(ConsulSource::new(plan(files.client("ca.pem", false))));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Unreachable, "{failure:?}");

    let mut watched = Watched::start(ConsulSource::new(plan(files.client("absent.pem", false))));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Unreachable);
    assert!(failure.detail.contains("tls.ca_file") && failure.detail.contains("absent.pem"), "{failure:?}");

    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &consul)));
    assert_eq!(watched.until_failed().await.class, LookupClass::Unreachable, "plain HTTP");
}
