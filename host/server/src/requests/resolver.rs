//! From names to addresses.
//!
//! Invariant: a name never leads to the host itself, to its own link, or to more than one machine: a component that
//! controls a name would reach what trusts the host. Only an address in the allow-list does.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Resolves by the system, and leaves out what a name may not lead to.
#[derive(Clone)]
pub(super) struct Resolver;

/// A name that leads nowhere else.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host `{name}` resolves to {address}, which only an address in the job's `grants.http.hosts` allows: name the address \
     there and in the url, if it is meant"
)]
pub(super) struct Inward {
    name: String,
    address: IpAddr,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            outward(name.as_str(), found).map(Vec::into_iter)
        })
    }
}

fn outward(name: &str, found: Vec<SocketAddr>) -> std::io::Result<Vec<SocketAddr>> {
    let (inward, outward): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| is_inward(address.ip()));
    match (inward.first(), outward.is_empty()) {
        (Some(inward), true) => Err(std::io::Error::other(Inward {
            name: name.to_owned(),
            address: inward.ip(),
        })),
        _ => Ok(outward),
    }
}

/// Addresses of the host itself, of its link (where clouds offer credentials), and of no machine or many.
fn is_inward(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded(v6)) {
            Some(v4) => is_inward(v4.into()),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unicast_link_local()
                    || is_metadata(v6)
            }
        },
    }
}

/// An IPv4 address behind NAT64.
fn embedded(v6: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() else {
        return None;
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some([a, b, c, d].into())
}

/// Where a cloud offers credentials over IPv6.
fn is_metadata(v6: Ipv6Addr) -> bool {
    v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_address_of_the_host_or_its_link() {
        for inward in [
            "127.0.0.1",
            "127.255.0.3",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fd00:ec2::254",
        ] {
            assert!(is_inward(inward.parse().unwrap()), "{inward}");
        }
        for outward in [
            "10.0.0.1",
            "192.168.1.1",
            "93.184.216.34",
            "fd12::1",
            "2606:2800::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_inward(outward.parse().unwrap()), "{outward}");
        }
    }

    #[test]
    fn a_name_that_leads_inward_alone_is_refused_with_the_address_and_the_mend() {
        let both: Vec<SocketAddr> = ["127.0.0.1:80", "10.0.0.1:80"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        assert_eq!(outward("a", both.clone()).unwrap(), both[1..]);
        let error = outward("rebound.example", both[..1].to_vec()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the host `rebound.example` resolves to 127.0.0.1, which only an address"),
            "{error}"
        );
    }
}
