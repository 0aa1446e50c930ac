//! `carillon explain`.

use std::fmt::Write as _;

use anyhow::Result;
use carillon_pipeline::{Explanation, PluginStory};

use super::client::Client;
use super::table::Table;
use super::words;
use crate::arguments::ExplainOptions;

pub(crate) async fn explain(options: &ExplainOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let request = client.get(&["explain", &options.id]);
    client.tell(request, told).await
}

fn told(explanation: &Explanation) -> String {
    let mut text = format!("{} {}\n\n", explanation.subject, explanation.id);
    for (line, number) in explanation.story.iter().zip(1..) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number:>3}. {line}");
    }
    if !explanation.plugins.is_empty() {
        text.push('\n');
        text.push_str(&plugins(&explanation.plugins));
    }
    text
}

fn plugins(stories: &[PluginStory]) -> String {
    let mut table = Table::new(["plugin", "version", "outcome", "why"]);
    for story in stories {
        table.row([
            story.plugin.clone(),
            story.version.clone().unwrap_or_else(|| "-".to_owned()),
            story.outcome.clone(),
            words::cut(&story.why, 200),
        ]);
    }
    table.text("")
}
