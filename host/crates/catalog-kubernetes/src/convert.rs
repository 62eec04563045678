//! Between the catalog's record of a version and the object that carries it: the same fields.

use roadstead_catalog::{
    BreakRecord, ImportRecord, MethodRecord, ServiceRecord, UnmappedRecord, VersionRecord,
};
use roadstead_domain::ModuleName;
use roadstead_k8s_api::{Break, Export, Import, Method, ModuleVersionSpec, Service};

/// The object's spec for a record. Every field is named, so that a new one cannot be forgotten.
pub fn to_object(module: &ModuleName, record: &VersionRecord) -> ModuleVersionSpec {
    let VersionRecord {
        version,
        digest,
        size,
        stored_beside,
        component,
        interface,
        component_instances,
        wit,
        spec,
        services,
        unmapped,
        imports,
        locks,
        forced,
        published_unix_ms,
    } = record.clone();
    ModuleVersionSpec {
        module: module.clone(),
        version,
        digest,
        size,
        stored_beside,
        component,
        interface,
        component_instances,
        wit,
        spec,
        services: services.into_iter().map(service).collect(),
        unmapped: unmapped
            .into_iter()
            .map(|UnmappedRecord { export, reason }| Export { export, reason })
            .collect(),
        imports: imports
            .into_iter()
            .map(|ImportRecord { name, grant }| Import { name, grant })
            .collect(),
        locks,
        forced: forced
            .into_iter()
            .map(|BreakRecord { subject, description }| Break { subject, description })
            .collect(),
        published_unix_ms,
    }
}

/// The module and the record that an object's spec says.
pub fn from_object(spec: ModuleVersionSpec) -> (ModuleName, VersionRecord) {
    let ModuleVersionSpec {
        module,
        version,
        digest,
        size,
        stored_beside,
        component,
        interface,
        component_instances,
        wit,
        spec,
        services,
        unmapped,
        imports,
        locks,
        forced,
        published_unix_ms,
    } = spec;
    let record = VersionRecord {
        version,
        digest,
        size,
        stored_beside,
        component,
        interface,
        component_instances,
        wit,
        spec,
        services: services.into_iter().map(service_record).collect(),
        unmapped: unmapped
            .into_iter()
            .map(|Export { export, reason }| UnmappedRecord { export, reason })
            .collect(),
        imports: imports
            .into_iter()
            .map(|Import { name, grant }| ImportRecord { name, grant })
            .collect(),
        locks,
        forced: forced
            .into_iter()
            .map(|Break { subject, description }| BreakRecord { subject, description })
            .collect(),
        published_unix_ms,
    };
    (module, record)
}

fn service(ServiceRecord { name, methods }: ServiceRecord) -> Service {
    let method =
        |MethodRecord { name, export, dynamic }: MethodRecord| Method { name, export, dynamic };
    Service { name, methods: methods.into_iter().map(method).collect() }
}

fn service_record(Service { name, methods }: Service) -> ServiceRecord {
    let method = |Method { name, export, dynamic }: Method| MethodRecord { name, export, dynamic };
    ServiceRecord { name, methods: methods.into_iter().map(method).collect() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use roadstead_domain::{Digest, ModuleSpec, SpecFormat};

    use super::*;

    /// A record with something in every field.
    pub(crate) fn full() -> VersionRecord {
        let spec = "
limits: {memory: 64Mi, tables: 7, instances: 8, fuel_per_call: 9, deadline: 2s, stream_deadline: 3s,
  stream_idle: 4s, input: 5Mi, output: auto, host_copy: 6Mi, handles: 10, session_idle: 5s,
  log_rate: 1Ki/s, random: 2Ki, sockets: 3, open_files: 4, egress: 5Ki}
quota: {cpu: 500m, borrow: false, weight: 7, concurrency: 8, queue: 16, egress: 1Ki/s, disk: 2Mi,
  inodes: 3, connections: 4, memory: 1Gi}
instances: {policy: pooled, max_uses: 10, warm: 1, share: caller, sessions: 2}
capabilities:
  env: {MODE: strict}
  config: {key: value}
  secrets: [api-key]
  network: {http: ['api.example.com:443'], tcp: ['[::1]:5432']}
  files: [{host: datasets, guest: /data, mode: rw}]
  clocks: real
  random: real
";
        let digest = |text: &str| Digest::of(text.as_bytes());
        let text = |text: &str| text.to_owned();
        let method = |name: &str, dynamic: Option<&str>| MethodRecord {
            name: text(name),
            export: format!("demo:calc/ops@0.1.0#{name}"),
            dynamic: dynamic.map(text),
        };
        VersionRecord {
            version: "1.2.3-rc.1".parse().unwrap(),
            digest: digest("upload"),
            size: 1 << 40,
            stored_beside: 12,
            component: digest("component"),
            interface: digest("interface"),
            component_instances: 3,
            wit: Some(digest("wit")),
            spec: ModuleSpec::parse(spec, SpecFormat::Yaml).unwrap(),
            services: vec![ServiceRecord {
                name: text("demo.calc.ops.v0_1.Ops"),
                methods: vec![method("Add", None), method("Sub", Some("streams"))],
            }],
            unmapped: vec![UnmappedRecord { export: text("x"), reason: text("why") }],
            imports: vec![ImportRecord { name: text("wasi:cli/env"), grant: text("MODE") }],
            locks: BTreeMap::from([(text("demo.calc.ops.v0_1"), digest("lock"))]),
            forced: vec![BreakRecord { subject: text("s"), description: text("d") }],
            published_unix_ms: 1_700_000_000_123,
        }
    }

    /// The same of a native version.
    pub(crate) fn native() -> VersionRecord {
        let spec = "
native:
  image: registry.example.com/learner:1
  command: [python3, learner.py]
  resources: {cpu: 4, memory: 8Gi, tpu: {accelerator: v5e, topology: 2x2}}
  stateful: true
  env: {MODE: train}
  secrets: [key]
  probes: {startup: 2m, progress: 30s}
  idle: 10m
  concurrent: [status]
  idempotent: [status]
  service_account: trainer
";
        let spec = ModuleSpec::parse(spec, SpecFormat::Yaml).unwrap();
        VersionRecord { spec, ..full() }
    }

    #[test]
    fn a_native_version_comes_back() {
        let object = serde_json::to_value(to_object(&"m".parse().unwrap(), &native())).unwrap();
        let (_, again) = from_object(serde_json::from_value(object).unwrap());
        assert_eq!(again, native());
        assert!(again.is_native() && !full().is_native());
    }

    #[test]
    fn every_field_comes_back() {
        let record = full();
        // Through the very text that the cluster keeps.
        let object = serde_json::to_string(&to_object(&"m".parse().unwrap(), &record)).unwrap();
        let object: ModuleVersionSpec = serde_json::from_str(&object).unwrap();
        let (module, again) = from_object(object);
        assert_eq!(module.as_str(), "m");
        assert_eq!(again, record);
        // No field was at its default, so none came back by luck.
        let (full, least) = (serde_json::to_value(&record).unwrap(), default_spec());
        differs("", &full["spec"], &least);
    }

    fn default_spec() -> serde_json::Value {
        serde_json::to_value(ModuleSpec::default()).unwrap()
    }

    fn differs(at: &str, full: &serde_json::Value, least: &serde_json::Value) {
        if at == ".limits.output" {
            return;
        }
        match least.as_object().filter(|least| !least.is_empty()) {
            Some(fields) => fields.iter().for_each(|(name, least)| {
                differs(&format!("{at}.{name}"), &full[name], least);
            }),
            None => assert_ne!(full, least, "{at} stands at its default"),
        }
    }

    #[test]
    fn a_field_that_does_not_exist_is_refused() {
        let mut object = serde_json::to_value(to_object(&"m".parse().unwrap(), &full())).unwrap();
        object["limit"] = 1.into();
        let error = serde_json::from_value::<ModuleVersionSpec>(object.clone()).unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
        object.as_object_mut().unwrap().remove("limit");
        object["spec"]["limits"]["memry"] = 1.into();
        assert!(serde_json::from_value::<ModuleVersionSpec>(object).is_err());
    }
}
