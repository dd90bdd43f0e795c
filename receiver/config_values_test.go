// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
)

// readYAML decodes the receiver's configuration as a collector does.
func readYAML(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs:              []string{"file:" + file},
		ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), envprovider.NewFactory()},
		DefaultScheme:     "env",
	})
	require.NoError(t, err)
	conf, err := resolver.Resolve(t.Context())
	require.NoError(t, err)
	require.NoError(t, resolver.Shutdown(t.Context()))
	cfg := createDefaultConfig()
	return cfg, conf.Unmarshal(cfg)
}

// words returns an error's text without the prefix of the decoder.
func words(err error) string {
	_, ours, found := strings.Cut(err.Error(), "decoding failed due to the following error(s):\n\n'' ")
	if !found {
		return err.Error()
	}
	return ours
}

// yamlAt writes a value at a key's path.
func yamlAt(path []string, value string) string {
	text := value
	for i := len(path) - 1; i >= 0; i-- {
		text = "{\"" + path[i] + "\": " + text + "}"
	}
	return text
}

// Every key of the schema refuses a value of another type, with our own message and its path.
func TestValuesOfAnotherType(t *testing.T) {
	wrong := map[string][]string{
		"integer": {"0.5", "1e30", "18446744073709551615", "16MiB", `""`, `"5"`, "true", "[1]", "{a: 1}"},
		"number":  {`"2"`, "true", "[1]", "{a: 1}"},
		"boolean": {"1", `"yes"`, "on", "[true]", "{a: 1}"},
		"array":   {"80", "word", `"a,b"`, "true", "{a: 1}"},
		"object":  {"80", "word", "[80]", "true"},
		"string":  {"[a]", "{a: 1}", "5", "true"},
		// A duration.
		"#/$defs/duration": {"10", "1.5", `"10"`, "10 s", "soon", "true", "[10s]", "{a: 1}"},
	}
	kinds := map[string]int{}
	var check func(path []string, s *schema)
	check = func(path []string, s *schema) {
		if len(path) > 0 {
			kind, _ := s.Type.(string)
			switch s.Ref {
			case "#/$defs/filters":
				kind = "array"
			case "":
			default:
				kind = s.Ref
			}
			require.Contains(t, wrong, kind, "%v", path)
			kinds[kind]++
			for _, value := range wrong[kind] {
				_, err := readYAML(t, yamlAt(path, value))
				if assert.Errorf(t, err, "%v: %s", path, value) {
					assert.Truef(t, strings.HasPrefix(words(err), strings.Join(path, "::")+": "), "%v: %s: %v", path, value, err)
				}
			}
			// A key without a value is like a missing key.
			for _, value := range []string{"", "null", "~", `"${env:EBPF_TCP_TEST_UNSET}"`} {
				cfg, err := readYAML(t, yamlAt(path, value))
				require.NoErrorf(t, err, "%v: %s", path, value)
				assert.Equalf(t, defaults(t), tree(t, cfg), "%v: %s", path, value)
			}
		}
		for key, property := range s.Properties {
			check(append(path[:len(path):len(path)], key), property)
		}
	}
	check(nil, loadSchema(t))
	assert.Len(t, kinds, len(wrong), "of every type there is a key")
}

func TestWhatIsWrongWithAValue(t *testing.T) {
	t.Setenv("EBPF_TCP_TEST", "0.5")
	for text, want := range map[string]string{
		"packets: {sample_rate: 0.01}":                      "packets::sample_rate: 0.01 is not a whole number",
		`packets: {sample_rate: "${env:EBPF_TCP_TEST}"}`:    "packets::sample_rate: 0.5 is not a whole number",
		"limits: {connections: 0.5}":                        "limits::connections: 0.5 is not a whole number",
		"limits: {connections: 18446744073709551615}":       "limits::connections: 18446744073709551615 is too large",
		"limits: {connections: 1e300}":                      "limits::connections: 1e+300 is too large",
		"limits: {ring_bytes: 16MiB}":                       `limits::ring_bytes: "16MiB" is not a whole number; write 16777216`,
		"queue: {max_bytes: 1.5 GB}":                        `queue::max_bytes: "1.5 GB" is not a whole number; write 1500000000`,
		"limits: {series: many}":                            `limits::series: "many" is not a whole number`,
		"limits: {series: 5 items}":                         `limits::series: "5 items" is not a whole number`,
		"limits: [1]":                                       "limits: [1] is not a mapping",
		"collection_interval: 10":                           "collection_interval: 10 has no unit; write 10s for seconds",
		`collection_interval: "10"`:                         `collection_interval: "10" has no unit; write 10s for seconds`,
		"collection_interval: ${env:EBPF_TCP_TEST}":         "collection_interval: 0.5 has no unit; write 0.5s for seconds",
		"collection_interval: 10 seconds":                   `collection_interval: "10 seconds" is not a duration such as 200ms, 10s or 5m`,
		"ports: [80]":                                       "ports: [80] is not a mapping; its keys are include and exclude",
		"ports: 80":                                         "ports: 80 is not a mapping; its keys are include and exclude",
		"ports: {include: 80}":                              "ports::include: 80 is not a list; write [80]",
		"clients: {include: 10.0.0.1}":                      `clients::include: "10.0.0.1" is not a list; write ["10.0.0.1"]`,
		"clients: {include: [10]}":                          "clients::include[0]: 10 is not a string; put it in quotes",
		"histograms: 5":                                     "histograms: 5 is not a string; put it in quotes",
		"attribution: {process: \"no\"}":                    `attribution::process: "no" is neither true nor false`,
		"events: {tcp.server.packet: false}":                "events::tcp.server.packet: false is not a mapping; its key is enabled",
		"metrics: {tcp.server.rtt: {enabled: 0}}":           "metrics::tcp.server.rtt::enabled: 0 is neither true nor false",
		"resource_attributes: {host.name: {enabled: 1}}":    "resource_attributes::host.name::enabled: 1 is neither true nor false",
		"retry_on_failure: {multiplier: fast}":              `retry_on_failure::multiplier: "fast" is not a number`,
		"limits: {series: 1.5}\npackets: {sample_rate: on}": "packets::sample_rate: \"on\" is not a whole number\nlimits::series: 1.5 is not a whole number",
	} {
		_, err := readYAML(t, text)
		require.Error(t, err, text)
		assert.True(t, strings.HasPrefix(words(err), want), "%s: %v", text, err)
	}
}

func TestValuesThatMeanTheSame(t *testing.T) {
	t.Setenv("EBPF_TCP_TEST_NUMBER", "500")
	t.Setenv("EBPF_TCP_TEST_WORD", "exponential")
	t.Setenv("EBPF_TCP_TEST_TIME", "3s")
	t.Setenv("EBPF_TCP_TEST_LIST", "[80, 8000-8100]")
	cfg, err := readYAML(t, `
collection_interval: ${env:EBPF_TCP_TEST_TIME}
histograms: ${env:EBPF_TCP_TEST_WORD}
ports: {include: "${env:EBPF_TCP_TEST_LIST}"}
clients: {exclude: ["10.0.0.${env:EBPF_TCP_TEST_UNSET:-1}"]}
interfaces: {include: ["${env:EBPF_TCP_TEST_NUMBER}"], exclude: }
packets: {sample_rate: 1e3}
limits: {series: "${env:EBPF_TCP_TEST_NUMBER}"}
retry_on_failure: {max_elapsed_time: 0, multiplier: 2}
batch:
`)
	require.NoError(t, err)
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, 3*time.Second, cfg.CollectionInterval)
	assert.Equal(t, histogramsExponential, cfg.Histograms)
	assert.Equal(t, []any{80, "8000-8100"}, cfg.Ports.Include)
	assert.Equal(t, []string{"10.0.0.1"}, cfg.Clients.Exclude)
	assert.Equal(t, []string{"500"}, cfg.Interfaces.Include, "an interface may have such a name")
	assert.Equal(t, []string{"lo"}, cfg.Interfaces.Exclude)
	assert.Equal(t, 1000, cfg.Packets.SampleRate)
	assert.Equal(t, 500, cfg.Limits.Series)
	assert.Zero(t, cfg.Retry.MaxElapsedTime)
	assert.InDelta(t, 2, cfg.Retry.Multiplier, 0)
	assert.Equal(t, createDefaultConfig().Batch, cfg.Batch)
	assert.Equal(t, createDefaultConfig().Limits.Listeners, cfg.Limits.Listeners)
	_, err = readYAML(t, "limits: {connections: .nan}")
	assert.ErrorContains(t, err, "limits::connections: NaN is not a whole number")
	cfg, err = readYAML(t, "retry_on_failure: {multiplier: .nan}")
	require.NoError(t, err)
	assert.True(t, math.IsNaN(cfg.Retry.Multiplier), "Validate refuses it")
}

func TestSelectionsOfNothing(t *testing.T) {
	for text, want := range map[string]string{
		`ports: {include: [80, 443], exclude: [443]}`:                                    "ports::include[1]: 443 selects nothing: ports::exclude has it, too",
		`ports: {include: ["8000-8100"], exclude: ["8051-9000", "1-8050"]}`:              "ports::include[0]: 8000-8100 selects nothing: ports::exclude has it, too",
		`{inspect: {http: {ports: [8000]}}, ports: {include: [80]}}`:                     "inspect::http::ports[0]: port 8000 can't be inspected: ports::include or ports::exclude leaves it out",
		`{inspect: {http: {ports: ["80-90"]}}, ports: {exclude: [85]}}`:                  "inspect::http::ports[0]: port 85 can't be inspected: ports::include or ports::exclude leaves it out",
		`{inspect: {tls: {ports: [8443]}}, ports: {include: [443]}}`:                     "inspect::tls::ports[0]: port 8443 can't be inspected: ports::include or ports::exclude leaves it out",
		`{inspect: {tls: {ports: [443]}}, tc: {mode: "off"}}`:                            "inspect::tls::ports: needs to see packets, but tc::mode is \"off\"",
		`{inspect: {http: {ports: [80]}}, tc: {mode: "off"}}`:                            "inspect::http::ports: needs to see packets, but tc::mode is \"off\"",
		`{inspect: {http: {gateways: {kong: {ports: [0]}}}}}`:                            "inspect::http::gateways::kong::ports[0]: \"0\": ports are 1 to 65535",
		`{inspect: {http: {gateways: {kong: {ports: [8000]}}}}, ports: {include: [80]}}`: "inspect::http::gateways::kong::ports[0]: port 8000 can't be inspected: ports::include or ports::exclude leaves it out",
		`{inspect: {http: {gateways: {kong: {upstream_requests: 0}}}}}`:                  "inspect::http::gateways::kong::upstream_requests: 0 is out of range, allowed are 1 to 1048576",
		`{inspect: {http: {bodies: {request_bytes: 65537}}}}`:                            "inspect::http::bodies::request_bytes: 65537 is out of range, allowed are 0 to 65536",
		`{inspect: {http: {bodies: {content_types: [json]}}}}`:                           `inspect::http::bodies::content_types[0]: "json": a content type has a slash, as in application/json`,
		`{inspect: {http: {bodies: {content_types: [], response_bytes: 1}}}}`:            "inspect::http::bodies::content_types: selects no body",
		`{inspect: {http: {ports: [80], bodies: {ports: [81]}}}}`:                        "inspect::http::bodies::ports[0]: port 81 is not inspected",
		`{inspect: {http: {bodies: {form: json}}}}`:                                      `inspect::http::bodies::form: "json" is unknown, allowed are ["raw" "hex" "structured" "xml"]`,
		`{inspect: {http: {routes: {patterns: ["/a", "b"]}}}}`:                           `inspect::http::routes::patterns[1]: "b": the path does not begin with a slash, and hosts are not matched`,
		`{inspect: {http: {routes: {patterns: ["/{a}/b", "/b/{a}"]}}}}`:                  `inspect::http::routes::patterns[1]: "/b/{a}" conflicts with "/{a}/b": some paths match both, and neither is more specific`,
		`{inspect: {http: {routes: {automatic: {children: 0}}}}}`:                        "inspect::http::routes::automatic::children: 0 is out of range, allowed are 1 to 1000",
		`{inspect: {http: {gateways: {openai: {ports: [0]}}}}}`:                          "inspect::http::gateways::openai::ports[0]: \"0\": ports are 1 to 65535",
		`{inspect: {http: {redact: {patterns: ["("]}}}}`:                                 "inspect::http::redact::patterns: entry 0: error parsing regexp: missing closing ): `(`",
		`{inspect: {tls: {idle_timeout: 2h}}}`:                                           `inspect::tls::idle_timeout: 2h0m0s is out of range, allowed are 1s to 1h0m0s`,
		`{inspect: {tls: {trusted_proxies: [proxy]}}}`:                                   `inspect::tls::trusted_proxies: entry 0, "proxy": neither an address nor a prefix such as 10.0.0.0/8`,
		`{inspect: {tls: {redact: {patterns: ["("]}}}}`:                                  "inspect::tls::redact::patterns: entry 0: error parsing regexp: missing closing ): `(`",
		`{inspect: {http: {trusted_proxies: [10.0.0.0/99]}}}`:                            `inspect::http::trusted_proxies: entry 0, "10.0.0.0/99": neither an address nor a prefix such as 10.0.0.0/8`,
		`{inspect: {http: {select: {statuses: ["6x"]}}}}`:                                `inspect::http::select::statuses[0]: "6x": neither a status such as "404", a class such as "5xx", nor a code of gRPC such as "UNAVAILABLE"`,
		`{inspect: {http: {grpc: {methods: [p.S/M, /p.S/M]}}}}`:                          `inspect::http::grpc::methods[1]: "/p.S/M" is no full name such as package.Service/Method`,
		`{inspect: {http: {grpc: {methods: ["p.S"]}}}}`:                                  `inspect::http::grpc::methods[0]: "p.S" is no full name such as package.Service/Method`,
		`{inspect: {http: {request_headers: ["a b"]}}}`:                                  `inspect::http::request_headers: entry 0, "a b", is no name of a header field`,
		`ports: {exclude: ["1-32767", "32768-65535"]}`:                                   "ports::exclude: leaves no port",
		`clients: {include: [10.0.0.0/8], exclude: ["10.0.0.0/8"]}`:                      `clients::include[0]: "10.0.0.0/8" selects nothing: clients::exclude has it, too`,
		`clients: {include: [10.0.0.1], exclude: ["::ffff:10.0.0.1/128"]}`:               `clients::include[0]: "10.0.0.1" selects nothing: clients::exclude has it, too`,
		`clients: {networks: [10.0.0.0/8, "::ffff:10.0.0.0/104"]}`:                       "clients::networks: has 10.0.0.0/8 twice",
		`clients: {exclude: ["0.0.0.0/0", "::/0"]}`:                                      "clients::exclude: leaves no client",
		`{interfaces: {exclude: ["*"]}, packets: {flags: [syn]}}`:                        "interfaces::exclude: leaves no interface; tc::mode: off does without packets",
		`interfaces: {include: [eth0, "v*"], exclude: ["*"]}`:                            "interfaces::exclude: leaves no interface; tc::mode: off does without packets",
		`interfaces: {include: [eth0, lo]}`:                                              `interfaces::include[1]: "lo" selects nothing: interfaces::exclude has "lo"`,
		`interfaces: {include: [eth0, "veth*", veth1], exclude: ["veth*"]}`:              `interfaces::include[2]: "veth1" selects nothing: interfaces::exclude has "veth*"`,
		`interfaces: {include: [eth0, "eth?"], exclude: ["eth?", "wlan[0-9]"]}`:          `interfaces::include[1]: "eth?" selects nothing: interfaces::exclude has "eth?"`,
	} {
		cfg, err := readYAML(t, text)
		require.NoError(t, err, text)
		err = confmap.Validate(cfg)
		if assert.Error(t, err, text) {
			assert.Contains(t, strings.Split(err.Error(), "\n"), want)
		}
	}
	for _, text := range []string{
		`ports: {include: ["8000-8100"], exclude: ["8000-8099"]}`,
		`ports: {include: ["8000-8100"], exclude: ["8001-9000", "1-7999"]}`,
		`clients: {include: [10.0.0.1], exclude: [10.0.0.0/8]}`,
		`clients: {exclude: ["0.0.0.0/0"]}`,
		`interfaces: {include: ["eth*"], exclude: ["eth?"]}`,
		`interfaces: {include: [lo], exclude: []}`,
		`{tc: {mode: off}, interfaces: {exclude: ["*"]}}`,
	} {
		cfg, err := readYAML(t, text)
		require.NoError(t, err, text)
		assert.NoError(t, confmap.Validate(cfg), text)
	}
}
