//! Findings that a mesh has in another way than that of its rule: what mends them there mends them as well.

use super::{CLEAN, apply, findings, ids};

/// Breaks the clean mesh, applies what the finding offers, and sees it gone and nothing else come. Returns the patch.
#[track_caller]
fn mended(id: &str, replace: &[(&str, &str)], add: &str) -> String {
    let mut text = CLEAN.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "the clean mesh has no {from}");
        text = text.replace(from, to);
    }
    let text = format!("{text}\n---\n{add}\n");
    let before = findings(&text);
    let found: Vec<_> = before.iter().filter(|finding| finding.id == id).collect();
    assert!(!found.is_empty(), "{id} not in {before:#?}");
    let patches: Vec<&str> = found.iter().filter_map(|finding| finding.yaml.as_deref()).collect();
    assert_eq!(patches.len(), found.len(), "no YAML to apply in {found:#?}");
    let after = findings(&patches.iter().fold(text, |text, patch| apply(&text, patch)));
    assert!(!ids(&after).contains(id), "{patches:#?}\nleaves {after:#?}");
    assert!(ids(&after).is_subset(&ids(&before)), "{patches:#?}\nmakes {after:#?} of {before:#?}");
    patches.join("---\n")
}

const TLS: &str = "tls: {mode: SIMPLE, credentialName: shop}";

#[test]
fn a_server_whose_certificate_nobody_has_gets_a_secret_of_its_hosts_name() {
    let patch = mended("GW01", &[(TLS, "")], "");
    assert!(patch.contains("credentialName: shop-example-com-tls"), "{patch}");
}

#[test]
fn a_ca_that_no_server_has_is_looked_for_beside_the_certificate() {
    let files = "tls: {mode: MUTUAL, serverCertificate: /etc/shop/tls.crt, privateKey: /etc/shop/tls.key}";
    let patch = mended("GW14", &[(TLS, files)], "");
    assert!(patch.contains("caCertificates: /etc/shop/ca.crt"), "{patch}");
    let patch = mended("GW14", &[(TLS, "tls: {mode: MUTUAL}")], "");
    assert!(patch.contains("credentialName: shop-example-com-tls"), "{patch}");
}

#[test]
fn the_only_gateway_is_selected_and_its_service_gets_the_ports() {
    let port = "{number: 443, name: https, protocol: HTTPS}\n    hosts";
    let other = "{number: 9443, name: https, protocol: HTTPS}\n    hosts";
    let label = ("    app: ingress\n  servers", "    app: nobody\n  servers");
    let patch = mended("GW09", &[label, (port, other)], "");
    assert!(patch.contains("app: ingress") && patch.contains("port: 9443"), "{patch}");
}

#[test]
fn where_there_is_no_gateway_one_is_deployed() {
    let gone = ("  - name: istio-proxy\n    args: [proxy, router]\n", "");
    let label = ("    app: ingress\n  servers", "    istio: front\n  servers");
    let patch = mended("GW09", &[gone, label], "");
    for part in ["kind: Deployment", "inject.istio.io/templates: gateway", "istio: front", "targetPort: 8443"]
    {
        assert!(patch.contains(part), "no {part} in {patch}");
    }
}

#[test]
fn workloads_that_no_label_tells_apart_get_one() {
    let pod = |app: &str, last: u8| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {app}-0, namespace: shop, labels: {{app: {app}, tier: back, security.istio.io/tlsMode: istio}}}}\nspec: {{containers: [{{name: app, ports: [{{containerPort: 7000}}]}}, {{name: istio-proxy, args: [proxy, sidecar]}}]}}\nstatus: {{podIP: 10.0.9.{last}}}\n---\n"
        )
    };
    let policy = |name: &str, month: u8, label: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: '2026-0{month}-01T00:00:00Z'}}\nspec: {{selector: {{matchLabels: {{{label}}}}}, mtls: {{mode: STRICT}}}}\n---\n"
        )
    };
    let all = [
        pod("a", 1),
        pod("b", 2),
        pod("c", 3),
        policy("older", 2, "app: c"),
        policy("younger", 3, "tier: back"),
    ];
    let patch = mended("PA03", &[], &all.concat());
    assert_eq!(patch.matches("peer-authentication: younger").count(), 3, "{patch}");
}

#[test]
fn what_cannot_have_a_sidecar_is_declared_as_it_is() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}}\nspec: {hostNetwork: true, containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}";
    let patch = mended("PA07", &[], pod);
    assert!(patch.contains("app: z") && patch.contains("mode: PERMISSIVE"), "{patch}");
    let own = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: own, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: z}}, mtls: {mode: STRICT}}";
    let patch = mended("PA07", &[], &format!("{pod}\n---\n{own}"));
    assert!(patch.contains("name: own") && patch.contains("mode: PERMISSIVE"), "{patch}");
}

#[test]
fn namespaces_outside_a_strict_mesh_are_offered_its_label() {
    let pod = "apiVersion: v1\nkind: Namespace\nmetadata: {name: batch, labels: {istio-injection: disabled}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: batch, labels: {app: z}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}";
    let patch = mended("PA07", &[], pod);
    assert!(patch.contains("istio-injection: enabled"), "{patch}");
}

#[test]
fn a_name_that_only_dns_resolves_gets_an_address_from_istio() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [db.bank.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 5432, name: tcp, protocol: TCP}]}";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    defaultConfig:\n      proxyMetadata:\n        OTHER: kept\n";
    let patch = mended("SE07", &[], &format!("{entry}\n---\n{config}"));
    assert!(patch.contains("ISTIO_META_DNS_CAPTURE: \"true\"") && patch.contains("OTHER: kept"), "{patch}");
    // A wildcard gets none.
    let wild = entry.replace("db.bank.example", "'*.bank.example'");
    let found = findings(&format!("{CLEAN}\n---\n{wild}\n---\n{config}"));
    assert!(found.iter().any(|finding| finding.id == "SE07" && finding.yaml.is_none()), "{found:#?}");
}

#[test]
fn what_leaves_a_called_service_out_is_taken_out() {
    let broken = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {egress: [{hosts: ['*/*', '~data/*', '~other/*']}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: store.data.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}";
    let patch = mended("SC01", &[], broken);
    assert!(!patch.contains("~data/*") && patch.contains("~other/*") && patch.contains("*/*"), "{patch}");
}

#[test]
fn an_identity_that_is_let_in_is_known_to_call() {
    let hidden = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: narrow, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {egress: [{hosts: ['./*', istio-system/*]}]}";
    let policy = |spec: &str| {
        format!(
            "{hidden}\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: store, namespace: data}}\nspec: {{{spec}}}"
        )
    };
    let from = |principal: &str| format!("rules: [{{from: [{{source: {{principals: ['{principal}']}}}}]}}]");
    let web = from("cluster.local/ns/shop/sa/web");
    let patch = mended("SC01", &[], &policy(&web));
    assert!(patch.contains("data/store.data.svc.cluster.local"), "{patch}");
    mended("SC01", &[], &policy(&format!("selector: {{matchLabels: {{app: store}}}}, {web}")));
    let second = "apiVersion: v1\nkind: Service\nmetadata: {name: more, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {clusterIP: 10.96.2.9, selector: {app: store}, ports: [{name: grpc, port: 9090, targetPort: 9000}]}";
    for none in [
        policy(&from("cluster.local/ns/shop/sa/other")),
        policy(&from("cluster.local/ns/shop/sa/*")),
        policy(&from("*")),
        policy(&format!("action: DENY, {web}")),
        policy(&format!("selector: {{matchLabels: {{app: other}}}}, {web}")),
        policy(&format!("targetRefs: [{{kind: Service, group: '', name: store}}], {web}")),
        policy(&web.replace("principals", "notPrincipals")),
        format!("{}\n---\n{second}", policy(&web)),
    ] {
        let found = findings(&format!("{CLEAN}\n---\n{none}\n"));
        assert!(!ids(&found).contains("SC01"), "{none}: {found:#?}");
    }
}
