//! Object stores by URL: which store, which bucket, below which prefix.
//!
//! Invariant: a URL holds no secret, so it can be shown; one that does is refused and not repeated.

mod exclusive;
mod http;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig, StaticCredentialProvider};
use url::Url;

use self::http::Connector;
use super::{StorageError, StorageSettings};

pub(super) use exclusive::{Exclusive, is_unanswered};

/// Schemes with what follows them.
const FORMS: &str = "`file:///path`, `s3://bucket/path`, `gs://bucket/path`, \
                     `abfs://container@account.dfs.core.windows.net/path`, `az://container/path` or `memory:`";

/// All requests of one call together, pauses included: less than the default time-out of a checkpoint.
const RETRIES_TIMEOUT_MAX: std::time::Duration = std::time::Duration::from_secs(180);

/// A store and how files of it are created.
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) exclusive: Exclusive,
    /// For people; without a slash at the end.
    pub(super) url: String,
}

/// Opens the store of a URL; asks it nothing yet.
pub(super) fn open(url: &Url, settings: &StorageSettings) -> Result<Remote, StorageError> {
    let unsupported = |message: String| StorageError::Unsupported {
        url: shown(url),
        message,
    };
    let says_too_much = url.query().is_some() || url.fragment().is_some() || url.password().is_some();
    if says_too_much || (!url.username().is_empty() && !names_container(url)) {
        return Err(unsupported(
            "it holds more than a place: give credentials by the host's settings, not in the URL".to_owned(),
        ));
    }
    let prefix = Path::from_url_path(url.path().trim_matches('/'))
        .map_err(|error| unsupported(format!("its path is not usable: {error}")))?;
    let store = |retries: u32| -> Result<Arc<dyn ObjectStore>, StorageError> {
        let connector = Connector::new(settings.request_timeout).map_err(&unsupported)?;
        let retry = retry(settings, retries);
        let store = match url.scheme() {
            "s3" | "s3a" => s3(url, settings, retry, connector),
            "gs" => gcs(url, settings, retry, connector),
            "abfs" | "abfss" | "wasb" | "wasbs" | "az" => azure(url, settings, retry, connector),
            other => Err(format!("this host has no storage for `{other}`: write {FORMS}")),
        };
        let store = store.map_err(&unsupported)?;
        Ok(Arc::new(PrefixStore::new(store, prefix.clone())))
    };
    Ok(Remote {
        store: store(settings.retries_max)?,
        exclusive: Exclusive::new(store(0)?, settings.retries_max, RETRIES_TIMEOUT_MAX),
        url: shown(url),
    })
}

type Opened = Result<Arc<dyn ObjectStore>, String>;

fn retry(settings: &StorageSettings, retries: u32) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: retries as usize,
        retry_timeout: RETRIES_TIMEOUT_MAX.max(settings.request_timeout),
    }
}

fn s3(url: &Url, settings: &StorageSettings, retry: RetryConfig, connector: Connector) -> Opened {
    let bucket = url
        .host_str()
        .ok_or("it names no bucket: write `s3://bucket/path`")?;
    let s3 = &settings.s3;
    let path_style = s3.path_style_access.unwrap_or(s3.endpoint.is_some());
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_http_connector(connector)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Not every server that speaks S3 deletes in bulk.
        .with_disable_bulk_delete(true)
        .with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(match path_style {
            true => endpoint.clone(),
            false => with_bucket(endpoint, bucket)?,
        });
    }
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    match (&s3.access_key, &s3.secret_key) {
        (Some(access), Some(secret)) => {
            builder = builder
                .with_access_key_id(access.reveal())
                .with_secret_access_key(secret.reveal());
        }
        (None, None) => {}
        _ => {
            return Err(
                "of `s3-access-key` and `s3-secret-key` only one is set: set both or none".to_owned(),
            );
        }
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}

/// The endpoint with the bucket before its host: the builder takes it as it is.
fn with_bucket(endpoint: &str, bucket: &str) -> Result<String, String> {
    let (scheme, rest) = endpoint
        .split_once("://")
        .ok_or_else(|| format!("`s3-endpoint` is `{endpoint}`: write a URL such as `https://host:9000`"))?;
    Ok(format!("{scheme}://{bucket}.{rest}"))
}

fn gcs(url: &Url, settings: &StorageSettings, retry: RetryConfig, connector: Connector) -> Opened {
    let bucket = url
        .host_str()
        .ok_or("it names no bucket: write `gs://bucket/path`")?;
    let gcs = &settings.gcs;
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_http_connector(connector);
    if let Some(endpoint) = &gcs.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        if gcs.service_account_file.is_none() {
            // NOTE: without a signature `object_store` asks for a token all the same when it writes.
            let nobody = GcpCredential {
                bearer: String::new(),
            };
            builder = builder
                .with_skip_signature(true)
                .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
        }
    }
    if let Some(file) = &gcs.service_account_file {
        builder = builder.with_service_account_path(file.to_string_lossy());
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}

fn azure(url: &Url, settings: &StorageSettings, retry: RetryConfig, connector: Connector) -> Opened {
    let form = "write `abfs://container@account.dfs.core.windows.net/path` or `az://container/path`";
    let host = url
        .host_str()
        .ok_or_else(|| format!("it names no container: {form}"))?;
    let azure = &settings.azure;
    let (container, account) = match url.username() {
        "" => (host, azure.account.as_deref()),
        container => (container, host.split('.').next()),
    };
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(retry)
        .with_http_connector(connector);
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    if let Some(key) = &azure.account_key {
        builder = builder.with_access_key(key.reveal());
    }
    if let Some(endpoint) = &azure.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let store = builder
        .build()
        .map_err(|error| format!("{error}: set `azure-account`, or {form}"))?;
    Ok(Arc::new(store))
}

/// Whether what stands before `@` is a container.
fn names_container(url: &Url) -> bool {
    matches!(url.scheme(), "abfs" | "abfss" | "wasb" | "wasbs")
}

/// The URL without what may be a secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    if url.password().is_some() || !names_container(&url) {
        // A URL without a host has no password.
        let _ = url.set_password(None);
        let _ = url.set_username("");
    }
    url.as_str().trim_end_matches('/').to_owned()
}
