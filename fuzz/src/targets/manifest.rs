//! Manifests. What is no manifest is taken for the body of one, and given a first line.

use wasmill_checkpoint::manifest::{Manifest, ManifestError};

use crate::{Target, contents_below};

pub(crate) const TARGET: Target = Target {
    name: "manifest",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let files = contents_below("host/checkpoint/tests/fixtures");
    let body = |file: &Vec<u8>| file.splitn(2, |byte| *byte == b'\n').nth(1).map(<[u8]>::to_vec);
    let bodies: Vec<_> = files.iter().filter_map(body).collect();
    [files, bodies].concat()
}

fn run(data: &[u8]) {
    let _ = check(data);
    for version in [1, 2] {
        let (length, sum) = (data.len(), crc32c::crc32c(data));
        let mut whole =
            format!("wasmill-checkpoint version={version} epoch=4 length={length} crc32c={sum:08x}\n")
                .into_bytes();
        whole.extend_from_slice(data);
        let decoded = check(&whole);
        assert!(
            !matches!(
                decoded,
                Err(ManifestError::Length { .. } | ManifestError::Checksum { .. })
            ),
            "the first line is right: {decoded:?}"
        );
    }
}

fn check(content: &[u8]) -> Result<Manifest, ManifestError> {
    let decoded = Manifest::decode(content);
    match &decoded {
        Ok(manifest) => {
            for file in manifest.files() {
                let leads_out = file.name.contains('/') || file.name.starts_with('.') || file.name.is_empty();
                assert!(!leads_out, "{} leads out of the directory", file.name);
            }
            let again = Manifest::decode(&manifest.encode().expect("what was read can be written"));
            assert_eq!(again.as_ref(), Ok(manifest));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    decoded
}
