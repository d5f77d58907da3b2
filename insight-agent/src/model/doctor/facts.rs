//! What was found on this machine. `null` in JSON, **None** here, is what could not be found out.

use serde::Serialize;

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The kernel and its switches.
    pub system: SystemFacts,
    /// This process: what it may do, where it stands, what it may hold.
    pub process: ProcessFacts,
    /// What became of the kernel half.
    pub kernel: KernelFacts,
    /// Processes that forward.
    pub forwarders: Vec<ForwarderFact>,
    /// The agent's listeners.
    pub listeners: Vec<ListenerFact>,
    /// Somebody else who exports `node_*`, in words.
    pub node_exporter: Option<String>,
    /// Ids of other `insight-agent` processes, rising.
    pub agents: Vec<u32>,
}

// ---- the system -----------------------------------------------------------------------------

/// The kernel and its switches.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SystemFacts {
    /// `uname -r`.
    pub release: Option<String>,
    /// `uname -m`.
    pub machine: String,
    /// How many CPUs can exist. The histograms have a bank for each, up to 16.
    pub cpus: Option<usize>,
    /// `/sys/kernel/btf/vmlinux`.
    pub btf: BtfFact,
    /// `none`, `integrity` or `confidentiality`. **None**: the kernel has no lockdown, or its file is
    /// not mounted.
    pub lockdown: Option<String>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u64>,
    /// `net.core.bpf_jit_enable`; only root may read it.
    pub bpf_jit_enable: Option<u64>,
    /// `kernel.bpf_stats_enabled`.
    pub bpf_stats_enabled: Option<u64>,
    /// Whether `/proc/pressure/cpu` can be read.
    pub pressure: bool,
    /// Where the cgroup2 file system is mounted.
    pub cgroup2_mount: Option<String>,
}

impl SystemFacts {
    /// The first two numbers of the release. **None**: it has none.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.as_deref()?.split(['.', '-']).map_while(|part| part.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    }

    /// Whether the kernel is known to be older than this version.
    pub fn is_before(&self, version: (u32, u32)) -> bool {
        self.version().is_some_and(|running| running < version)
    }
}

/// The kernel's description of its own types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BtfFact {
    /// Its size. **None**: it cannot be read.
    pub bytes: Option<u64>,
    /// Why it cannot be read, or what is wrong with it.
    pub error: Option<SystemError>,
}

/// What the system, or something on the way to it, said no with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SystemError {
    /// The kernel's answer. **None**: it was not the kernel.
    pub errno: Option<Errno>,
    /// What was attempted, and all that was said.
    pub text: String,
}

/// An error number of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Errno {
    /// Such as `EPERM`.
    pub name: String,
    /// Such as 1.
    pub number: i32,
}

impl std::fmt::Display for Errno {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.number)
    }
}

// ---- the process ----------------------------------------------------------------------------

/// This process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProcessFacts {
    /// The effective user.
    pub uid: Option<u32>,
    /// Names of the effective capabilities, by their number; one without a name here is
    /// `CAP_` and its number.
    pub capabilities: Option<Vec<String>>,
    /// Process ids.
    pub pid_namespace: Namespace,
    /// Devices, addresses, sockets.
    pub network_namespace: Namespace,
    /// Users and capabilities.
    pub user_namespace: Namespace,
    /// What may be locked. **None**: no limit, or not known. **Unit**: bytes.
    pub memlock_limit_bytes: Option<u64>,
    /// The lowest memory limit of its control groups.
    pub memory_limit: Option<MemoryLimit>,
}

impl ProcessFacts {
    /// Whether it has a capability. **None**: not known.
    pub fn has(&self, capability: &str) -> Option<bool> {
        self.capabilities.as_ref().map(|all| all.iter().any(|name| name == capability))
    }
}

/// Whose namespace the process is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// The one that the host booted with.
    Host,
    /// Another one, as in a container.
    Other,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// A limit on a control group's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryLimit {
    /// The limit. **Unit**: bytes.
    pub bytes: u64,
    /// The file that it stands in.
    pub file: String,
}

// ---- the kernel half ------------------------------------------------------------------------

/// What became of the kernel half.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KernelFacts {
    /// Every program of the object.
    pub hooks: Vec<HookFact>,
    /// Members that are not in the kernel's types.
    pub missing_members: Vec<MemberFact>,
    /// Every measurement.
    pub measurements: Vec<MeasurementFact>,
    /// Entering sockets that were open before.
    pub seeding: Option<MeasurementFact>,
    /// The cgroup that `sock_ops` is attached to, then those above it.
    pub attachments: Vec<AttachmentFact>,
    /// Why those programs could not be asked for, or not by name.
    pub attachments_error: Option<SystemError>,
    /// Other agents' programs.
    pub other_agents: Vec<AgentProgramsFact>,
    /// What was locked while everything was loaded. **None**: nothing was.
    pub memory: Option<MemoryFact>,
}

/// One program of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HookFact {
    /// Its name.
    pub program: String,
    /// The tracepoint. **None**: it is attached to a cgroup.
    pub tracepoint: Option<String>,
    /// Whether the kernel's types have it, with the arguments that are read. **None**: there are no
    /// types, or it is no tracepoint.
    pub in_types: Option<bool>,
    /// Whether it was loaded and attached. **None**: that was not tried.
    pub attached: Option<bool>,
    /// Why it was not.
    pub error: Option<SystemError>,
    /// Measurements that need it.
    pub measurements: Vec<String>,
}

impl HookFact {
    /// Why it does not run. **None**: it does, or it was not tried.
    pub fn refusal(&self) -> Option<&SystemError> {
        self.error.as_ref().filter(|_| self.attached != Some(true))
    }
}

/// A member of a struct that the kernel's types lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberFact {
    /// The struct and the path in it.
    pub member: String,
    /// What needs it: a measurement, `sockets` (all of them), `seeding` or `scope`.
    pub needed_by: String,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MeasurementFact {
    /// Its name.
    pub name: String,
    /// Whether the configuration asks for it.
    pub asked_for: bool,
    /// It measures forwarders only.
    pub needs_forwarder: bool,
    /// `active`, `disabled` or `failed`, as in `insight_measurement_state`.
    pub state: String,
    /// Why, as a closed word; empty while active.
    pub reason: String,
    /// The same for people.
    pub error: Option<SystemError>,
}

/// Programs of type `sock_ops` on one cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttachmentFact {
    /// The cgroup's folder.
    pub cgroup: String,
    /// How the group's programs live together.
    pub mode: AttachMode,
    /// They keep ours out.
    pub blocks: bool,
    /// The programs.
    pub programs: Vec<ProgramFact>,
}

/// How programs on one cgroup live together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// One alone, and none below.
    #[default]
    Exclusive,
    /// One alone; those below replace it.
    Override,
    /// Several, and several below; links always are.
    Multi,
}

/// A loaded program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramFact {
    /// Its number.
    pub id: u32,
    /// Its name, as the kernel cuts it (15 bytes). **None**: it may not be asked for.
    pub name: Option<String>,
}

/// Programs that another agent has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentProgramsFact {
    /// The process that holds them. **None**: not found.
    pub pid: Option<u32>,
    /// Their numbers, rising.
    pub programs: Vec<u32>,
}

/// What the kernel locked for the loaded maps and programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryFact {
    /// How many maps.
    pub maps: u64,
    /// **Unit**: bytes.
    pub map_bytes: u64,
    /// How many programs.
    pub programs: u64,
    /// **Unit**: bytes.
    pub program_bytes: u64,
    /// The part of the maps that grows with CPUs, measurements, forwarders and peer groups. **Unit**: bytes.
    pub histogram_bytes: u64,
    /// Of each distribution that is on, one per group, forwarder or device, or one alone.
    pub histograms_per_bank: u32,
    /// Banks of histograms: CPUs, up to 16.
    pub banks: u32,
    /// Groups of connections: nobody's and each forwarder's, by peer group.
    pub groups: u32,
}

// ---- the host -------------------------------------------------------------------------------

/// A forwarder of the configuration; without one, of the well-known names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwarderFact {
    /// Its name.
    pub name: String,
    /// What it is looked for by, in words.
    pub criteria: String,
    /// Whether the configuration has it.
    pub configured: bool,
    /// Ids of its processes, rising.
    pub pids: Vec<u32>,
    /// How many threads they have.
    pub threads: usize,
}

/// One listener of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerFact {
    /// `metrics`, `admin` or `grpc`.
    pub name: String,
    /// Where it binds.
    pub address: String,
    /// Whether something listens there.
    pub taken: bool,
    /// Whether this host has the address.
    pub local: bool,
    /// Who listens there. **None**: nobody, or it cannot be told.
    pub process: Option<HolderFact>,
}

/// A process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderFact {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Whether it is an `insight-agent`.
    pub is_agent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_its_first_two_numbers() {
        let of = |release: &str| SystemFacts { release: Some(release.into()), ..SystemFacts::default() };
        assert_eq!(of("6.12.117+deb13-cloud-amd64").version(), Some((6, 12)));
        assert_eq!(of("5.9-rc1").version(), Some((5, 9)));
        assert_eq!(of("next").version(), None);
        assert!(of("5.10.0").is_before((5, 11)) && !of("6.1.0").is_before((5, 11)));
        assert!(!of("next").is_before((5, 11)), "an unknown kernel is not taken for an old one");
    }
}
