//! Application protocols, and the ones inside which TLS can begin.

crate::named! {
    /// A recognised application protocol. Recognised means read from its bytes, never guessed from a port.
    pub enum Protocol {
        /// HTTP/1.0 or 1.1 (RFC 9112).
        Http1 = "http/1.1",
        /// HTTP/2 in the clear, prior knowledge (RFC 9113).
        Http2 = "http/2",
        /// HTTP/3 (RFC 9114), known from ALPN.
        Http3 = "http/3",
        /// gRPC: HTTP/2 whose content type says so.
        Grpc = "grpc",
        /// WebSocket (RFC 6455).
        WebSocket = "websocket",
        /// PostgreSQL frontend/backend protocol 3.
        Postgres = "postgres",
        /// MySQL and MariaDB client/server protocol.
        Mysql = "mysql",
        /// Redis RESP.
        Redis = "redis",
        /// Apache Kafka.
        Kafka = "kafka",
        /// MongoDB wire protocol.
        Mongodb = "mongodb",
        /// Cassandra native protocol (CQL).
        Cassandra = "cassandra",
        /// AMQP 0-9-1 and 1.0.
        Amqp = "amqp",
        /// NATS.
        Nats = "nats",
        /// MQTT.
        Mqtt = "mqtt",
        /// Memcached, text and binary.
        Memcached = "memcached",
        /// ZooKeeper.
        Zookeeper = "zookeeper",
        /// Elasticsearch transport.
        Elasticsearch = "elasticsearch",
        /// Apache Dubbo.
        Dubbo = "dubbo",
        /// Apache Thrift.
        Thrift = "thrift",
        /// LDAP (RFC 4511).
        Ldap = "ldap",
        /// SMTP (RFC 5321).
        Smtp = "smtp",
        /// IMAP (RFC 9051).
        Imap = "imap",
        /// POP3 (RFC 1939).
        Pop3 = "pop3",
        /// FTP control connection (RFC 959).
        Ftp = "ftp",
        /// NNTP (RFC 3977).
        Nntp = "nntp",
        /// ManageSieve (RFC 5804).
        Sieve = "sieve",
        /// XMPP (RFC 6120).
        Xmpp = "xmpp",
        /// IRC (RFC 1459).
        Irc = "irc",
        /// DNS (RFC 1035).
        Dns = "dns",
        /// Kerberos 5 (RFC 4120).
        Kerberos = "kerberos",
        /// SMB.
        Smb = "smb",
        /// Tabular Data Stream (Microsoft SQL Server).
        Tds = "mssql",
        /// Oracle TNS.
        Oracle = "oracle",
        /// SIP (RFC 3261).
        Sip = "sip",
        /// STUN (RFC 8489).
        Stun = "stun",
        /// Syslog (RFC 5424, RFC 3164).
        Syslog = "syslog",
        /// SNMP.
        Snmp = "snmp",
        /// NTP (RFC 5905).
        Ntp = "ntp",
        /// Remote desktop (X.224 connection request).
        Rdp = "rdp",
        /// Telnet (RFC 854).
        Telnet = "telnet",
        /// SOCKS 4 or 5.
        Socks = "socks",
        /// DHCP (RFC 2131).
        Dhcp = "dhcp",
        /// SSDP.
        Ssdp = "ssdp",
        /// RTSP (RFC 7826).
        Rtsp = "rtsp",
        /// SSH (RFC 4253): encrypted, not TLS.
        Ssh = "ssh",
        /// WireGuard: encrypted, not TLS.
        Wireguard = "wireguard",
        /// OpenVPN: encrypted, its TLS is inside its own framing.
        Openvpn = "openvpn",
        /// ESP in UDP (RFC 3948).
        Esp = "esp",
        /// Google QUIC, before the IETF's.
        Gquic = "gquic",
        /// IKE (RFC 7296).
        Ike = "ike",
    }
}

crate::named! {
    /// A protocol inside which TLS begins (or was offered).
    pub enum Upgrade {
        /// PostgreSQL SSLRequest.
        Postgres = "postgres",
        /// MySQL SSLRequest.
        Mysql = "mysql",
        /// SMTP STARTTLS (RFC 3207).
        Smtp = "smtp",
        /// IMAP STARTTLS.
        Imap = "imap",
        /// POP3 STLS (RFC 2595).
        Pop3 = "pop3",
        /// FTP AUTH TLS (RFC 4217).
        Ftp = "ftp",
        /// LDAP StartTLS (RFC 4511 section 4.14).
        Ldap = "ldap",
        /// XMPP starttls (RFC 6120 section 5).
        Xmpp = "xmpp",
        /// NNTP STARTTLS (RFC 4642).
        Nntp = "nntp",
        /// ManageSieve STARTTLS.
        Sieve = "sieve",
        /// IRC STARTTLS.
        Irc = "irc",
        /// NATS: TLS after the server's INFO.
        Nats = "nats",
        /// RDP security negotiation.
        Rdp = "rdp",
        /// TDS pre-login encryption.
        Tds = "mssql-tds",
        /// HTTP CONNECT (RFC 9110 section 9.3.6).
        HttpConnect = "http-connect",
        /// SOCKS 4.
        Socks4 = "socks4",
        /// SOCKS 5 (RFC 1928).
        Socks5 = "socks5",
        /// PROXY protocol version 1 before the hello.
        ProxyV1 = "proxy-v1",
        /// PROXY protocol version 2 before the hello.
        ProxyV2 = "proxy-v2",
    }
}
