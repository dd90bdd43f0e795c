module github.com/ebpftcp/ebpftcpreceiver/internal/tools/dashboards

go 1.26.0

require (
	github.com/ebpftcp/ebpftcpreceiver v0.0.0
	github.com/grafana/grafana-foundation-sdk/go v0.0.22
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/ebpftcp/ebpftcpreceiver => ../../..
