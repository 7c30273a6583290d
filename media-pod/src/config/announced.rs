//! Addresses that clients are told: they go into candidates as they are.

use std::fmt::Display;
use std::net::IpAddr;

/// The longest host name and the longest part of one, in characters (RFC 1035, section 2.3.4).
const LONGEST: (usize, usize) = (253, 63);

/// The address of `announced` for media that is bound to `bind`, one of `all`. A host name is for IPv4,
/// unless all is IPv6.
pub fn find<'a>(announced: &'a [String], bind: IpAddr, all: &[IpAddr]) -> Option<&'a String> {
    announced
        .iter()
        .find(|address| is_v6(address, all) == bind.is_ipv6())
}

fn is_v6(address: &str, bound: &[IpAddr]) -> bool {
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.is_ipv6(),
        Err(_) => !bound.is_empty() && bound.iter().all(IpAddr::is_ipv6),
    }
}

/// Whether clients can be told these, for media bound to `bound`.
///
/// # Errors
/// Which cannot be, and what is possible.
pub fn check(announced: &[String], bound: &[IpAddr]) -> Result<(), String> {
    let mut seen: [Option<&str>; 2] = [None, None];
    for address in announced {
        let wrong = |what: &dyn Display| format!("{address:?}: {what}");
        match address.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                return Err(wrong(&"no client can send to it"));
            }
            Ok(_) => {}
            Err(_) if is_host_name(address) => {}
            Err(_) => {
                return Err(wrong(
                    &"an IPv4 or IPv6 address or a host name is possible, without scheme, port or brackets",
                ));
            }
        }
        let v6 = is_v6(address, bound);
        let family = ["IPv4", "IPv6"][usize::from(v6)];
        if !bound.iter().any(|ip| ip.is_ipv6() == v6) {
            let what = format!("no {family} address is bound: give an --rtc-ip of {family} too");
            return Err(wrong(&what));
        }
        match seen[usize::from(v6)].replace(address) {
            Some(first) if first != address => {
                let what = format!(
                    "{first:?} is announced for {family} already; one of each family is possible"
                );
                return Err(wrong(&what));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Whether it is a host name (RFC 1123, section 2.1). Its last part is no number, or it would be an address.
fn is_host_name(name: &str) -> bool {
    let (longest, longest_part) = LONGEST;
    let is_part = |part: &str| {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        (1..=longest_part).contains(&part.len())
            && part.bytes().all(allowed)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_number = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    name.len() <= longest
        && name.split('.').all(is_part)
        && !name.rsplit('.').next().is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

    fn told(addresses: &[&str], bound: &[IpAddr]) -> Result<(), String> {
        let addresses: Vec<String> = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        check(&addresses, bound)
    }

    #[test]
    fn addresses_and_host_names_are_told() {
        let long = format!("{}.example", "a".repeat(63));
        for address in [
            "203.0.113.7",
            "media.example.net",
            "localhost",
            "4you.example",
            &long,
        ] {
            assert_eq!(told(&[address], &[V4]), Ok(()));
        }
        assert_eq!(told(&["2001:db8::1"], &[V6]), Ok(()));
        assert_eq!(told(&["media.example", "2001:db8::1"], &[V4, V6]), Ok(()));
        assert_eq!(told(&["203.0.113.7", "203.0.113.7"], &[V4]), Ok(()));
        assert_eq!(
            told(&["media.example"], &[V6]),
            Ok(()),
            "where there is no IPv4"
        );
    }

    /// Protects clients from candidates that none of them can use.
    #[test]
    fn what_no_client_could_use_is_refused() {
        let long = "a".repeat(64);
        let longest = ["a"; 128].join(".");
        for address in [
            "",
            " ",
            "a b",
            "http://x",
            "host:4400",
            "1.2.3.4:40000",
            "[::1]",
            "-a.example",
            "a-.example",
            "a..b",
            "a.",
            "a_b",
            "256.1.1.1",
            "1.2.3",
            "::1%eth0",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            &long,
            &longest,
        ] {
            let reason = told(&[address], &[V4, V6]).unwrap_err();
            assert!(reason.starts_with(&format!("{address:?}: ")), "{reason}");
        }
    }

    #[test]
    fn there_is_one_for_each_family_that_is_bound() {
        for (addresses, bound) in [
            (["203.0.113.7", "203.0.113.8"], [V4, V6]),
            (["203.0.113.7", "media.example"], [V4, V6]),
            (["2001:db8::1", "2001:db8::2"], [V4, V6]),
            (["2001:db8::1", "203.0.113.7"], [V4, V4]),
            (["2001:db8::1", "203.0.113.7"], [V6, V6]),
        ] {
            assert!(told(&addresses, &bound).is_err(), "{addresses:?}");
        }
    }

    #[test]
    fn each_bound_address_finds_its_own() {
        let all = ["media.example".to_owned(), "2001:db8::1".to_owned()];
        let found =
            |announced: &[String], bind, bound: &[IpAddr]| find(announced, bind, bound).cloned();
        assert_eq!(found(&all, V4, &[V4, V6]), Some(all[0].clone()));
        assert_eq!(found(&all, V6, &[V4, V6]), Some(all[1].clone()));
        assert_eq!(found(&all[..1], V6, &[V4, V6]), None);
        assert_eq!(found(&all[..1], V6, &[V6]), Some(all[0].clone()));
    }
}
