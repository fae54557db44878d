//! Settings of object stores, with Flink's names where it has them (`s3.access-key` is `s3-access-key`).

use std::path::PathBuf;

use wasmill_checkpoint::storage::{Secret, StorageSettings};

use super::number;
use crate::job::units::DurationText;

/// The keys, in the order of the documentation.
pub(super) const KEYS: [&str; 12] = [
    "s3-endpoint",
    "s3-region",
    "s3-path-style-access",
    "s3-access-key",
    "s3-secret-key",
    "gs-endpoint",
    "gs-service-account-file",
    "azure-endpoint",
    "azure-account",
    "azure-account-key",
    "storage-request-timeout",
    "storage-retries",
];

/// Sets one of [`KEYS`] from its text.
pub(super) fn set(settings: &mut StorageSettings, key: &str, value: &str) -> Result<(), String> {
    let (s3, gcs, azure) = (&mut settings.s3, &mut settings.gcs, &mut settings.azure);
    match key {
        "s3-endpoint" => s3.endpoint = Some(endpoint(value)?),
        "s3-region" => s3.region = Some(value.to_owned()),
        "s3-path-style-access" => s3.path_style_access = Some(boolean(value)?),
        "s3-access-key" => s3.access_key = Some(secret(value)?),
        "s3-secret-key" => s3.secret_key = Some(secret(value)?),
        "gs-endpoint" => gcs.endpoint = Some(endpoint(value)?),
        "gs-service-account-file" => gcs.service_account_file = Some(PathBuf::from(value)),
        "azure-endpoint" => azure.endpoint = Some(endpoint(value)?),
        "azure-account" => azure.account = Some(value.to_owned()),
        "azure-account-key" => azure.account_key = Some(secret(value)?),
        "storage-request-timeout" => {
            let timeout = DurationText::parse(value)?.duration();
            if timeout.is_zero() {
                return Err("a request needs some time: write a duration such as `30s`".to_owned());
            }
            settings.request_timeout = timeout;
        }
        _ => settings.retries_max = number(value, 0, 100)?,
    }
    Ok(())
}

fn endpoint(value: &str) -> Result<String, String> {
    let wrong = || Err("it is not an endpoint: write a URL such as `https://minio.example:9000`".to_owned());
    match url::Url::parse(value) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() || url.query().is_some() => wrong(),
        Ok(_) => Ok(value.trim_end_matches('/').to_owned()),
        Err(_) => wrong(),
    }
}

fn secret(value: &str) -> Result<Secret, String> {
    match value.trim() {
        "" => Err("it is empty: leave it out, or write the key".to_owned()),
        key => Ok(Secret::new(key)),
    }
}

pub(super) fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("`{}` is not `true` or `false`", other.escape_debug())),
    }
}
