# Gives every container of a task definition a certificate, from a third access
# point of EFS (for user 10001) with tls.crt, tls.key (mode 400) and ca.crt:
#   jq -f deploy/aws/tls.jq deploy/aws/services.json | envsubst > services.json
.volumes += [{
  name: "tls",
  efsVolumeConfiguration: {fileSystemId: "${EFS_ID}", transitEncryption: "ENABLED", authorizationConfig: {accessPointId: "${EFS_TLS}", iam: "ENABLED"}}
}]
| .containerDefinitions[] |= (
    .environment += [
      {name: "CONCLAVE_TLS_CERT", value: "/etc/conclave-tls/tls.crt"},
      {name: "CONCLAVE_TLS_KEY", value: "/etc/conclave-tls/tls.key"},
      {name: "CONCLAVE_TLS_CA", value: "/etc/conclave-tls/ca.crt"},
      {name: "CONCLAVE_TLS_NAME", value: "conclave.internal"}
    ]
    | .mountPoints += [{sourceVolume: "tls", containerPath: "/etc/conclave-tls", readOnly: true}]
    | del(.portMappings[].appProtocol)
  )
