//! Encapsulations around a flow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One encapsulation, with its identifier where it has one; written as `vxlan:4096` or `gre`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IEEE 802.1Q or 802.1ad tag, with the VLAN identifier.
    Vlan(u16),
    /// MPLS label (RFC 3032).
    Mpls(u32),
    /// PPPoE session (RFC 2516).
    Pppoe(u16),
    /// GRE (RFC 2784, RFC 2890).
    Gre,
    /// ERSPAN, with its session identifier.
    Erspan(u16),
    /// VXLAN network identifier (RFC 7348).
    Vxlan(u32),
    /// Geneve network identifier (RFC 8926).
    Geneve(u32),
    /// IP in IP (RFC 2003, RFC 2473).
    IpInIp,
    /// IPv6 in IPv4 (RFC 4213).
    SixInFour,
    /// GTP-U tunnel endpoint identifier (3GPP TS 29.281).
    GtpU(u32),
    /// Teredo (RFC 4380).
    Teredo,
    /// L2TP session (RFC 2661, RFC 3931).
    L2tp(u32),
    /// LISP instance (RFC 9300).
    Lisp(u32),
    /// Generic UDP encapsulation (draft-ietf-intarea-gue).
    Gue,
    /// AYIYA (draft-massar-v6ops-ayiya).
    Ayiya,
    /// CAPWAP data (RFC 5415).
    Capwap,
    /// TZSP, frames that a sniffer passes on.
    Tzsp,
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vlan(id) => write!(f, "vlan:{id}"),
            Self::Mpls(label) => write!(f, "mpls:{label}"),
            Self::Pppoe(id) => write!(f, "pppoe:{id}"),
            Self::Gre => write!(f, "gre"),
            Self::Erspan(id) => write!(f, "erspan:{id}"),
            Self::Vxlan(id) => write!(f, "vxlan:{id}"),
            Self::Geneve(id) => write!(f, "geneve:{id}"),
            Self::IpInIp => write!(f, "ipip"),
            Self::SixInFour => write!(f, "6in4"),
            Self::GtpU(id) => write!(f, "gtpu:{id}"),
            Self::Teredo => write!(f, "teredo"),
            Self::L2tp(id) => write!(f, "l2tp:{id}"),
            Self::Lisp(id) => write!(f, "lisp:{id}"),
            Self::Gue => write!(f, "gue"),
            Self::Ayiya => write!(f, "ayiya"),
            Self::Capwap => write!(f, "capwap"),
            Self::Tzsp => write!(f, "tzsp"),
        }
    }
}

impl FromStr for Tunnel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, id) = text.split_once(':').unwrap_or((text, "0"));
        let id: u32 = id.parse().map_err(|_| format!("'{text}' is no tunnel"))?;
        let short = || u16::try_from(id).map_err(|_| format!("'{text}' is no tunnel"));
        match kind {
            "vlan" => short().map(Self::Vlan),
            "mpls" => Ok(Self::Mpls(id)),
            "pppoe" => short().map(Self::Pppoe),
            "gre" => Ok(Self::Gre),
            "erspan" => short().map(Self::Erspan),
            "vxlan" => Ok(Self::Vxlan(id)),
            "geneve" => Ok(Self::Geneve(id)),
            "ipip" => Ok(Self::IpInIp),
            "6in4" => Ok(Self::SixInFour),
            "gtpu" => Ok(Self::GtpU(id)),
            "teredo" => Ok(Self::Teredo),
            "l2tp" => Ok(Self::L2tp(id)),
            "lisp" => Ok(Self::Lisp(id)),
            "gue" => Ok(Self::Gue),
            "ayiya" => Ok(Self::Ayiya),
            "capwap" => Ok(Self::Capwap),
            "tzsp" => Ok(Self::Tzsp),
            _ => Err(format!("'{text}' is no tunnel")),
        }
    }
}

impl Serialize for Tunnel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tunnel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::Tunnel;

    #[test]
    fn every_tunnel_reads_back() {
        for text in [
            "vlan:12",
            "mpls:17",
            "pppoe:7",
            "gre",
            "erspan:5",
            "vxlan:4096",
            "geneve:7",
            "ipip",
            "6in4",
            "gtpu:9",
            "teredo",
            "l2tp:65545",
            "lisp:7",
            "gue",
            "ayiya",
            "capwap",
            "tzsp",
        ] {
            assert_eq!(text.parse::<Tunnel>().map(|tunnel| tunnel.to_string()).as_deref(), Ok(text));
        }
        assert!("vlan:65536".parse::<Tunnel>().is_err());
    }
}
