//! A run on Kubernetes: a ConfigMap with the scenario, a headless Service by which workers find the run, a Job for the run and an Indexed Job for
//! the workers. The key is a Secret that whoever applies this makes: it is in no file that is kept.

mod types;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{PORT, Rendered, WITHIN, yaml};
use types::*;

pub(super) fn render(of: &Rendered) -> Result<String, String> {
    let image = of.image()?;
    if of.text.len() > CONFIG_MAP_MAX {
        return Err(format!(
            "the scenario has {} bytes, and a ConfigMap takes {CONFIG_MAP_MAX} of it; expected a shorter one",
            of.text.len()
        ));
    }
    let name = &of.name;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# Once, before this is applied: openssl rand -hex 32 > run.key && kubectl create secret generic {name}-key --from-file=run.key"
    );
    let _ = writeln!(
        text,
        "# Afterwards: kubectl logs job/{name}-run | sed -n '/^{{$/,/^}}$/p' > report.json"
    );
    let config = Manifest {
        api_version: "v1",
        kind: "ConfigMap",
        metadata: named(of, String::new()),
        content: ConfigMap {
            data: BTreeMap::from([(SCENARIO, of.text.clone())]),
            immutable: true,
        },
    };
    let service = Manifest {
        api_version: "v1",
        kind: "Service",
        metadata: named(of, String::new()),
        content: Spec {
            spec: ServiceSpec {
                cluster_ip: "None",
                selector: labels(of, Some("run")),
                ports: vec![ServicePort {
                    name: "workers",
                    port: PORT,
                }],
                publish_not_ready_addresses: true,
            },
        },
    };
    let job = |part: &str, spec: JobSpec| Manifest {
        api_version: "batch/v1",
        kind: "Job",
        metadata: named(of, format!("-{part}")),
        content: Spec { spec },
    };
    text.push_str(&yaml::document(&config));
    text.push_str(&yaml::document(&service));
    text.push_str(&yaml::document(&job("run", run(of, image))));
    text.push_str(&yaml::document(&job("workers", workers(of, image))));
    Ok(text)
}

/// One pod, once: a run that has failed has said why.
fn run(of: &Rendered, image: &str) -> JobSpec {
    let mut args = of.run_arguments(&format!("/etc/fleetcast/{SCENARIO}"), &format!("0.0.0.0:{PORT}"));
    let rest = [
        "--key-file",
        "/etc/fleetcast-key/run.key",
        "--out",
        "/run/fleetcast/run",
        "--format",
        "json",
    ];
    args.extend(rest.map(str::to_owned));
    let [_, memory] = of.memory;
    let mut pod = pod(of, "run", container((image, args), memory));
    pod.spec.containers[0].ports = vec![ContainerPort {
        name: "workers",
        container_port: PORT,
    }];
    JobSpec {
        completions: 1,
        parallelism: 1,
        completion_mode: "Indexed",
        backoff_limit: Some(0),
        backoff_limit_per_index: None,
        active_deadline_seconds: of.limit.as_secs(),
        pod_failure_policy: failure_policy(),
        template: pod,
    }
}

fn workers(of: &Rendered, image: &str) -> JobSpec {
    let to = format!("{}:{PORT}", of.name);
    let args = [
        "worker",
        "--connect",
        &to,
        "--key-file",
        "/etc/fleetcast-key/run.key",
        "--within",
        WITHIN,
    ];
    let args = args.map(str::to_owned).to_vec();
    let [memory, _] = of.memory;
    JobSpec {
        completions: of.workers,
        parallelism: of.workers,
        completion_mode: "Indexed",
        backoff_limit: None,
        // Until the run begins a worker that is lost has another one in its place.
        backoff_limit_per_index: Some(3),
        active_deadline_seconds: of.limit.as_secs(),
        pod_failure_policy: failure_policy(),
        template: pod(of, "worker", container((image, args), memory)),
    }
}

/// What would not be otherwise the next time is not tried again; a pod that the cluster has moved is no failure.
fn failure_policy() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![
            Rule {
                action: "FailJob",
                on_exit_codes: Some(OnExitCodes {
                    operator: "In",
                    values: vec![BAD_USAGE],
                }),
                on_pod_conditions: None,
            },
            Rule {
                action: "Ignore",
                on_exit_codes: None,
                on_pod_conditions: Some(vec![PodCondition {
                    r#type: "DisruptionTarget",
                    status: "True",
                }]),
            },
        ],
    }
}

fn pod(of: &Rendered, role: &'static str, container: Container) -> PodTemplate {
    let is_run = role == "run";
    let mut volumes = vec![Volume {
        name: "key",
        config_map: None,
        secret: Some(SecretVolume {
            secret_name: format!("{}-key", of.name),
            default_mode: 0o440,
        }),
        empty_dir: None,
    }];
    let mut container = container;
    if is_run {
        let volume = |name, config_map, empty_dir| Volume {
            name,
            config_map,
            secret: None,
            empty_dir,
        };
        let name = of.name.clone();
        volumes.push(volume("scenario", Some(ConfigMapVolume { name }), None));
        let size_limit = mebibytes(of.disk);
        volumes.push(volume("run", None, Some(EmptyDir { size_limit })));
        container.volume_mounts.extend([
            Mount {
                name: "scenario",
                mount_path: "/etc/fleetcast",
                read_only: true,
            },
            Mount {
                name: "run",
                mount_path: "/run/fleetcast",
                read_only: false,
            },
        ]);
    }
    PodTemplate {
        metadata: Metadata {
            name: None,
            labels: labels(of, Some(role)),
        },
        spec: PodSpec {
            restart_policy: "Never",
            automount_service_account_token: false,
            enable_service_links: false,
            termination_grace_period_seconds: 90,
            security_context: PodSecurity {
                run_as_non_root: true,
                run_as_user: NOBODY,
                run_as_group: NOBODY,
                fs_group: NOBODY,
                seccomp_profile: Seccomp {
                    r#type: "RuntimeDefault",
                },
            },
            affinity: of.is_in_one_zone.then(|| in_one_zone(of)),
            containers: vec![container],
            volumes,
        },
    }
}

fn in_one_zone(of: &Rendered) -> Affinity {
    Affinity {
        pod_affinity: PodAffinity {
            required_during_scheduling_ignored_during_execution: vec![AffinityTerm {
                topology_key: "topology.kubernetes.io/zone",
                label_selector: LabelSelector {
                    match_labels: labels(of, None),
                },
            }],
        },
    }
}

fn container((image, args): (&str, Vec<String>), memory: u64) -> Container {
    let quantities = |cpu| Quantities {
        cpu,
        memory: mebibytes(memory),
    };
    Container {
        name: "harness",
        image: image.to_owned(),
        args,
        ports: Vec::new(),
        resources: Resources {
            requests: quantities(Some("2")),
            // A limit of the processor would hold hosts up in the middle of a chunk.
            limits: quantities(None),
        },
        security_context: ContainerSecurity {
            allow_privilege_escalation: false,
            read_only_root_filesystem: true,
            capabilities: Capabilities { drop: vec!["ALL"] },
        },
        volume_mounts: vec![Mount {
            name: "key",
            mount_path: "/etc/fleetcast-key",
            read_only: true,
        }],
    }
}

fn named(of: &Rendered, part: String) -> Metadata {
    Metadata {
        name: Some(format!("{}{part}", of.name)),
        labels: labels(of, None),
    }
}

fn labels(of: &Rendered, role: Option<&str>) -> Labels {
    let mut labels = Labels::from([
        ("app.kubernetes.io/name", "fleetcast".to_owned()),
        ("app.kubernetes.io/instance", of.name.clone()),
    ]);
    if let Some(role) = role {
        labels.insert("app.kubernetes.io/component", role.to_owned());
    }
    labels
}

fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes.div_ceil(1 << 20))
}

const SCENARIO: &str = "scenario.toml";
/// Bytes of a scenario at most: a ConfigMap takes 1 MiB in all.
const CONFIG_MAP_MAX: usize = 1_000_000;
/// As distroless images call a user that is not root.
const NOBODY: u32 = 65_532;
/// As [`crate::exit::Exit::Usage`].
const BAD_USAGE: u8 = 2;
