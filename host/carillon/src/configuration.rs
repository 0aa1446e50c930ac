//! The configuration file: strict, and helpful where it is wrong.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use carillon_booking::BookingConfig;
use carillon_bus::{ConsumerConfig, TopicNames};
use carillon_gateway::{AdminConfig, GatewayConfig};
use carillon_pipeline::{PipelineConfig, PluginConfig, Requirement, TrustConfig, WatchConfig};
use carillon_sandbox::SandboxConfig;
use carillon_store::StoreConfig;
use carillon_web::TokenConfig;
use serde::Deserialize;

use crate::arguments::Common;
use crate::data_folder;

/// Names further apart than this are not suggested.
const NEAR_ENOUGH: f64 = 0.7;

/// The whole file. Each section is owned by the crate that it configures.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Configuration {
    pub(crate) booking_service: BookingConfig,
    pub(crate) notification_service: NotificationService,
    pub(crate) gateway: GatewayConfig,
    pub(crate) pipeline: PipelineConfig,
    pub(crate) sandbox: SandboxConfig,
    pub(crate) store: StoreConfig,
    pub(crate) tokens: TokenConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) trust: TrustConfig,
    pub(crate) watch: WatchConfig,
    pub(crate) plugins: HashMap<String, PluginConfig>,
}

/// The seeds' section of the host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NotificationService {
    pub(crate) kafka: ConsumerConfig,
}

/// Reads the file that the options name, or gives the defaults.
pub(crate) fn read(common: &Common) -> Result<Configuration> {
    let mut configuration = match &common.config {
        None => Configuration::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
            parse(&text, path)?
        }
    };
    share_topics(&mut configuration);
    validate(&configuration)?;
    Ok(configuration)
}

fn parse(text: &str, path: &Path) -> Result<Configuration> {
    toml::from_str(text).map_err(|error| {
        let mut message = format!(
            "the configuration {} is not valid:\n{error}",
            path.display()
        );
        if let Some(nearest) = nearest_name(error.message()) {
            let _ = write!(message, "\nDid you mean `{nearest}`?");
        }
        anyhow::anyhow!(message)
    })
}

/// Finds in serde's "unknown field `a`, expected one of `b`, `c`" the name next to `a`.
fn nearest_name(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    known
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

/// The seeds name topics on the producing side only; the host reads the same ones unless it
/// is told otherwise.
fn share_topics(configuration: &mut Configuration) {
    let produced = configuration.booking_service.kafka.topics.clone();
    let consumed = &mut configuration.notification_service.kafka.topics;
    let TopicNames {
        booking_events,
        waitlist_events,
        conflict_events,
        analytics_events,
        notification_events,
        user_events,
        resource_events,
    } = produced;
    let fill = |own: &mut Option<String>, other: Option<String>| *own = own.take().or(other);
    fill(&mut consumed.booking_events, booking_events);
    fill(&mut consumed.waitlist_events, waitlist_events);
    fill(&mut consumed.conflict_events, conflict_events);
    fill(&mut consumed.analytics_events, analytics_events);
    fill(&mut consumed.notification_events, notification_events);
    fill(&mut consumed.user_events, user_events);
    fill(&mut consumed.resource_events, resource_events);
}

fn validate(configuration: &Configuration) -> Result<()> {
    configuration
        .booking_service
        .check()
        .context("[booking_service]")?;
    configuration.gateway.check().context("[gateway]")?;
    configuration.admin.check().context("[admin]")?;
    configuration.trust.check().map_err(anyhow::Error::msg)?;
    let sent_again_s = configuration.booking_service.duplicate_window_s;
    let remembered_s = u64::from(configuration.store.duplicate_window_hours) * 3_600;
    if sent_again_s > remembered_s {
        bail!(
            "booking_service.duplicate_window_s ({sent_again_s}) is longer than store.duplicate_window_hours ({} h): events that are sent again after a restart would be taken for new ones",
            configuration.store.duplicate_window_hours
        );
    }
    let kafka = &configuration.notification_service.kafka;
    let mut read = kafka.topics.all();
    read.extend(kafka.extra_topics.iter().cloned());
    if read.contains(&kafka.dead_letter_topic) {
        bail!(
            "notification_service.kafka.dead_letter_topic ({}) is also read for events; each dead letter would become another",
            kafka.dead_letter_topic
        );
    }
    let pipeline = &configuration.pipeline;
    for (key, value) in [
        ("max_attempts", u64::from(pipeline.max_attempts)),
        ("batch_records", pipeline.batch_records as u64),
        ("batch_bytes", pipeline.batch_bytes as u64),
        ("group_shares", pipeline.group_shares as u64),
        ("http_workers", pipeline.http_workers as u64),
        ("quarantine_after", u64::from(pipeline.quarantine_after)),
        ("probe_backoff_ms", pipeline.probe_backoff_ms),
        ("keep_versions", u64::from(pipeline.keep_versions)),
    ] {
        if value == 0 {
            bail!("[pipeline] {key} is 0; it must be at least 1");
        }
    }
    if !(1..=100).contains(&pipeline.catch_up_share) {
        bail!(
            "[pipeline] catch_up_share is {}; it is a share in percent, 1 to 100",
            pipeline.catch_up_share
        );
    }
    let watch = &configuration.watch;
    for (key, value) in [("every_ms", watch.every_ms), ("settle_ms", watch.settle_ms)] {
        if value == 0 {
            bail!("[watch] {key} is 0; it must be at least 1");
        }
    }
    Ok(())
}

/// Whether the booking service and the host name the same Kafka, and so whether one process
/// can carry both.
pub(crate) fn servers(configuration: &Configuration) -> Result<&[String]> {
    let produced = &configuration.booking_service.kafka.bootstrap_servers;
    let consumed = &configuration.notification_service.kafka.bootstrap_servers;
    match (produced.as_slice(), consumed.as_slice()) {
        (produced, []) => Ok(produced),
        ([], consumed) => Ok(consumed),
        (produced, consumed) if produced == consumed => Ok(produced),
        (produced, consumed) => bail!(
            "booking_service.kafka.bootstrap_servers ({}) and notification_service.kafka.bootstrap_servers ({}) differ; `carillon run` needs one Kafka, or run `carillon booking` and `carillon host` apart",
            produced.join(", "),
            consumed.join(", ")
        ),
    }
}

/// `carillon config check`.
pub(crate) fn check(common: &Common) -> Result<()> {
    let configuration = read(common)?;
    let servers = servers(&configuration)?;
    match &common.config {
        Some(path) => println!("{} is valid.", path.display()),
        None => println!("No file was given: everything has its default."),
    }
    if servers.is_empty() {
        println!("Kafka         the embedded broker (its log ends with the process)");
    } else {
        println!("Kafka         {}", servers.join(", "));
    }
    let kafka = &configuration.notification_service.kafka;
    println!("group         {}", kafka.group_id);
    println!("topics        {}", kafka.topics.all().join(", "));
    if !kafka.extra_topics.is_empty() {
        println!("further       {}", kafka.extra_topics.join(", "));
    }
    println!("dead letters  {}", kafka.dead_letter_topic);
    println!("data          {}", common.data.display());
    println!(
        "operators     {}",
        operators(&configuration.admin, &common.data)
    );
    println!("trust         {}", trust(&configuration.trust));
    println!(
        "watched       {}",
        watched(&configuration.watch, &common.data)
    );
    let mut plugins: Vec<&str> = configuration.plugins.keys().map(String::as_str).collect();
    plugins.sort_unstable();
    if !plugins.is_empty() {
        println!("configured    {}", plugins.join(", "));
    }
    Ok(())
}

fn operators(admin: &AdminConfig, folder: &Path) -> String {
    if admin.tokens.is_empty() {
        let file = data_folder::admin_token_file(folder);
        return format!("whoever can read {}", file.display());
    }
    let names: Vec<&str> = admin.tokens.keys().map(String::as_str).collect();
    names.join(", ")
}

fn trust(trust: &TrustConfig) -> String {
    match trust.require {
        Requirement::Nothing => "every plugin that an operator loads".to_owned(),
        Requirement::Listed => format!("{} listed SHA-256 sums", trust.allow_sha256.len()),
        Requirement::Signed => {
            let names: Vec<&str> = trust.signers.keys().map(String::as_str).collect();
            format!("plugins that are signed by {}", names.join(" or "))
        }
    }
}

fn watched(watch: &WatchConfig, folder: &Path) -> String {
    if !watch.enabled {
        return "no folder: plugins are loaded with `carillon plugin load` only".to_owned();
    }
    data_folder::plugins_path(folder).display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SEEDS: &str = r#"
[booking_service.kafka]
bootstrap_servers = ["localhost:9092"]
client_id = "booking-service"
acks = "all"
retries = 3
batch_size = 16384
linger_ms = 10
buffer_memory = 33554432

[booking_service.kafka.topics]
booking_events = "booking-events"
waitlist_events = "waitlist-events"
conflict_events = "other-conflicts"

[notification_service.kafka]
bootstrap_servers = ["localhost:9092"]
client_id = "notification-service"
group_id = "notification-group"
auto_offset_reset = "earliest"
enable_auto_commit = true
auto_commit_interval_ms = 1000
session_timeout_ms = 30000
heartbeat_interval_ms = 10000
"#;

    fn parsed(text: &str) -> Result<Configuration> {
        parse(text, Path::new("carillon.toml"))
    }

    #[test]
    fn the_sections_of_both_seeds_are_taken_as_they_stand() {
        let mut configuration = parsed(SEEDS).unwrap();
        share_topics(&mut configuration);
        validate(&configuration).unwrap();
        assert_eq!(servers(&configuration).unwrap(), ["localhost:9092"]);
        assert!(
            configuration
                .notification_service
                .kafka
                .topics
                .all()
                .contains(&"other-conflicts".to_owned())
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        let error = parsed("[notification_service.kafka]\ngroup_di = \"x\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("group_di") && error.contains("line 2"),
            "{error}"
        );
        assert!(error.ends_with("Did you mean `group_id`?"), "{error}");
    }

    #[test]
    fn a_name_that_is_near_nothing_gets_no_suggestion() {
        let error = parsed("[zzz]\n").unwrap_err().to_string();
        assert!(
            error.contains("zzz") && !error.contains("Did you mean"),
            "{error}"
        );
    }

    #[test]
    fn acks_that_could_lose_events_are_refused() {
        let configuration = parsed(
            "[booking_service.kafka]\nacks = \"1\"\nbootstrap_servers = [\"localhost:1\"]\n",
        )
        .unwrap();
        let cluster =
            carillon_bus::Cluster::servers(&configuration.booking_service.kafka.bootstrap_servers);
        let error = carillon_bus::Producer::new(&cluster, &configuration.booking_service.kafka)
            .unwrap_err();
        assert!(error.to_string().contains("acks"), "{error}");
    }

    #[test]
    fn the_topic_of_dead_letters_is_not_read_for_events() {
        let text = "[notification_service.kafka]\nextra_topics = [\"carillon.dead-letters\"]\n";
        let error = validate(&parsed(text).unwrap()).unwrap_err();
        assert!(error.to_string().contains("dead_letter_topic"));
    }

    #[test]
    fn events_are_not_sent_again_beyond_what_is_remembered() {
        let configuration = parsed("[store]\nduplicate_window_hours = 1\n").unwrap();
        assert!(
            validate(&configuration)
                .unwrap_err()
                .to_string()
                .contains("duplicate_window_s")
        );
    }

    #[test]
    fn what_operators_and_trust_are_given_is_checked() {
        for (text, word) in [
            ("[admin]\ntokens = { ci = \"short\" }\n", "admin.tokens.ci"),
            ("[trust]\nrequire = \"signed\"\n", "names nobody"),
            ("[trust]\nallow_sha256 = [\"12\"]\n", "allow_sha256"),
            ("[watch]\nevery_ms = 0\n", "every_ms"),
            ("[pipeline]\nquarantine_after = 0\n", "quarantine_after"),
            ("[pipeline]\ncatch_up_share = 0\n", "catch_up_share"),
            ("[pipeline]\ncatch_up_share = 101\n", "1 to 100"),
        ] {
            let error = format!("{:#}", validate(&parsed(text).unwrap()).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn grants_of_a_plugin_are_read_and_a_wrong_key_is_refused() {
        let grants =
            "[plugins.caller.http]\nallow = [\"https://*.example.org\"]\nmax_requests = 3\n";
        let configuration = parsed(grants).unwrap();
        assert!(configuration.plugins.contains_key("caller"));
        let error = parsed("[plugins.caller.http]\nalow = []\n").unwrap_err();
        assert!(
            error.to_string().contains("Did you mean `allow`?"),
            "{error}"
        );
    }

    #[test]
    fn two_kafkas_do_not_fit_into_one_process() {
        let configuration = parsed(
            "[booking_service.kafka]\nbootstrap_servers = [\"a:1\"]\n[notification_service.kafka]\nbootstrap_servers = [\"b:1\"]\n",
        )
        .unwrap();
        assert!(
            servers(&configuration)
                .unwrap_err()
                .to_string()
                .contains("differ")
        );
    }
}
