//! What a host says of its object stores: endpoints, credentials, time-outs, retries.
//!
//! Invariant: a secret is never shown: neither by `Debug` nor in an error.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of all object stores; what is not set is taken from the usual variables of each provider
/// (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY`, …) or from the machine's own role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// Of `s3://` and `s3a://`.
    pub s3: S3Settings,
    /// Of `gs://`.
    pub gcs: GcsSettings,
    /// Of `abfs://`, `abfss://`, `wasb://`, `wasbs://` and `az://`.
    pub azure: AzureSettings,
    /// How long one request may take, its answer included.
    pub request_timeout: Duration,
    /// How often a request that failed is made again, with growing pauses between.
    pub retries_max: u32,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            s3: S3Settings::default(),
            gcs: GcsSettings::default(),
            azure: AzureSettings::default(),
            request_timeout: Duration::from_secs(30),
            retries_max: 8,
        }
    }
}

/// S3 and whatever speaks its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// URL of the server; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether the bucket is the first part of the path instead of the host's name; `None`: where an endpoint is set.
    pub path_style_access: Option<bool>,
    /// Together with `secret_key`.
    pub access_key: Option<Secret>,
    /// Together with `access_key`.
    pub secret_key: Option<Secret>,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcsSettings {
    /// URL of the server; `None`: Google's. Another one is asked without credentials where no file is set.
    pub endpoint: Option<String>,
    /// The JSON key of a service account.
    pub service_account_file: Option<PathBuf>,
}

/// Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureSettings {
    /// URL of the server, the account included where the server wants it; `None`: Microsoft's.
    pub endpoint: Option<String>,
    /// The account of URLs that name none.
    pub account: Option<String>,
    /// Its key.
    pub account_key: Option<Secret>,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the one who sends it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
