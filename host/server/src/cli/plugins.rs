//! `wasmill plugin …`.

use std::path::Path;

use comfy_table::{Table, presets};

use super::client::encode;
use super::{CliError, Context, PluginCommand, files};
use crate::rest::plugins::{Plugin, Plugins};

/// Runs one of the commands.
pub fn plugin(context: &Context, command: &PluginCommand) -> Result<(), CliError> {
    let client = context.client()?;
    match command {
        PluginCommand::Upload { file, name } => {
            let plugin = upload(&client, file, name.as_deref())?;
            context.print(&plugin, |plugin| format!("{} {}", plugin.name, plugin.digest))
        }
        PluginCommand::List => {
            let plugins: Plugins = client.get("/plugins")?;
            context.print(&plugins, table)
        }
        PluginCommand::Show { plugin } => {
            let plugin: Plugin = client.get(&format!("/plugins/{}", encode(plugin)))?;
            context.print(&plugin, show)
        }
        PluginCommand::Delete { plugin } => {
            let plugin: Plugin = client.delete(&format!("/plugins/{}", encode(plugin)))?;
            context.print(&plugin, |plugin| {
                format!("deleted {} {}", plugin.name, plugin.digest)
            })
        }
    }
}

/// Uploads a component file.
pub fn upload(client: &super::client::Client, file: &Path, name: Option<&str>) -> Result<Plugin, CliError> {
    let bytes =
        std::fs::read(file).map_err(|e| format!("{}: {e}: build the component first", file.display()))?;
    let name = name.map_or_else(|| files::plugin_name(file), str::to_owned);
    let path = format!("/plugins?name={}", encode(&name));
    client
        .post_bytes(&path, "application/wasm", &bytes)
        .map_err(|e| match e {
            CliError::Failed(message) => CliError::Failed(format!("{}: {message}", file.display())),
            other => other,
        })
}

fn table(plugins: &Plugins) -> String {
    if plugins.plugins.is_empty() {
        return "no plugins: upload one with `wasmill plugin upload FILE`".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "name",
        "digest",
        "family",
        "functions",
        "size",
        "in use",
    ]);
    for plugin in &plugins.plugins {
        let functions: Vec<_> = functions(plugin)
            .map(|f| f["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        table.add_row([
            plugin.name.clone(),
            plugin.digest.chars().take("sha256:".len() + 12).collect(),
            plugin.family.clone(),
            functions.join(", "),
            format!("{} KiB", plugin.size.div_ceil(1024)),
            if plugin.in_use { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.to_string()
}

fn functions(plugin: &Plugin) -> impl Iterator<Item = &serde_json::Value> {
    plugin.description["functions"].as_array().into_iter().flatten()
}

fn show(plugin: &Plugin) -> String {
    let mut text = format!(
        "{}\n{}\nfamily {}, {} bytes\n",
        plugin.name, plugin.digest, plugin.family, plugin.size
    );
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "function",
        "kind",
        "reads",
        "emits",
        "state",
        "side outputs",
    ]);
    let text_of = |value: &serde_json::Value| value.as_str().unwrap_or("raw").to_owned();
    let names = |value: &serde_json::Value| {
        let entries = value.as_array().into_iter().flatten();
        entries
            .map(|entry| entry["name"].as_str().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(", ")
    };
    for function in functions(plugin) {
        table.add_row([
            text_of(&function["name"]),
            text_of(&function["kind"]),
            text_of(&function["input"]),
            text_of(&function["output"]),
            names(&function["state"]),
            names(&function["side-outputs"]),
        ]);
    }
    text.push_str(&table.to_string());
    text
}
