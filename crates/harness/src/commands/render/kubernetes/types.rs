//! The parts of Kubernetes' objects that a run has.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest<S> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) metadata: Metadata,
    #[serde(flatten)]
    pub(super) content: S,
}

pub(super) type Labels = BTreeMap<&'static str, String>;

#[derive(Serialize)]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) labels: Labels,
}

#[derive(Serialize)]
pub(super) struct ConfigMap {
    pub(super) data: BTreeMap<&'static str, String>,
    pub(super) immutable: bool,
}

#[derive(Serialize)]
pub(super) struct Spec<S> {
    pub(super) spec: S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    /// Its name leads to the run's own address.
    #[serde(rename = "clusterIP")]
    pub(super) cluster_ip: &'static str,
    pub(super) selector: Labels,
    pub(super) ports: Vec<ServicePort>,
    /// Workers may come as soon as there is an address.
    pub(super) publish_not_ready_addresses: bool,
}

#[derive(Serialize)]
pub(super) struct ServicePort {
    pub(super) name: &'static str,
    pub(super) port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobSpec {
    pub(super) completions: u32,
    pub(super) parallelism: u32,
    pub(super) completion_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backoff_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backoff_limit_per_index: Option<u32>,
    pub(super) active_deadline_seconds: u64,
    pub(super) pod_failure_policy: PodFailurePolicy,
    pub(super) template: PodTemplate,
}

#[derive(Serialize)]
pub(super) struct PodFailurePolicy {
    pub(super) rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_exit_codes: Option<OnExitCodes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_pod_conditions: Option<Vec<PodCondition>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnExitCodes {
    pub(super) operator: &'static str,
    pub(super) values: Vec<u8>,
}

#[derive(Serialize)]
pub(super) struct PodCondition {
    pub(super) r#type: &'static str,
    pub(super) status: &'static str,
}

#[derive(Serialize)]
pub(super) struct PodTemplate {
    pub(super) metadata: Metadata,
    pub(super) spec: PodSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) restart_policy: &'static str,
    /// Nothing in a pod asks the cluster for anything.
    pub(super) automount_service_account_token: bool,
    pub(super) enable_service_links: bool,
    /// Until a run that was told to end has written its report.
    pub(super) termination_grace_period_seconds: u32,
    pub(super) security_context: PodSecurity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) affinity: Option<Affinity>,
    pub(super) containers: Vec<Container>,
    pub(super) volumes: Vec<Volume>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSecurity {
    pub(super) run_as_non_root: bool,
    pub(super) run_as_user: u32,
    pub(super) run_as_group: u32,
    pub(super) fs_group: u32,
    pub(super) seccomp_profile: Seccomp,
}

#[derive(Serialize)]
pub(super) struct Seccomp {
    pub(super) r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affinity {
    pub(super) pod_affinity: PodAffinity,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodAffinity {
    pub(super) required_during_scheduling_ignored_during_execution: Vec<AffinityTerm>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AffinityTerm {
    pub(super) topology_key: &'static str,
    pub(super) label_selector: LabelSelector,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelSelector {
    pub(super) match_labels: Labels,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: &'static str,
    pub(super) image: String,
    pub(super) args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ports: Vec<ContainerPort>,
    pub(super) resources: Resources,
    pub(super) security_context: ContainerSecurity,
    pub(super) volume_mounts: Vec<Mount>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: &'static str,
    pub(super) container_port: u16,
}

#[derive(Serialize)]
pub(super) struct Resources {
    pub(super) requests: Quantities,
    pub(super) limits: Quantities,
}

#[derive(Serialize)]
pub(super) struct Quantities {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<&'static str>,
    pub(super) memory: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerSecurity {
    pub(super) allow_privilege_escalation: bool,
    pub(super) read_only_root_filesystem: bool,
    pub(super) capabilities: Capabilities,
}

#[derive(Serialize)]
pub(super) struct Capabilities {
    pub(super) drop: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) name: &'static str,
    pub(super) mount_path: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) read_only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config_map: Option<ConfigMapVolume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<SecretVolume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) empty_dir: Option<EmptyDir>,
}

#[derive(Serialize)]
pub(super) struct ConfigMapVolume {
    pub(super) name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretVolume {
    pub(super) secret_name: String,
    pub(super) default_mode: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EmptyDir {
    pub(super) size_limit: String,
}
