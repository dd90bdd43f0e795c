// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// playEcho answers requests with their own bodies on an address until its standard input ends.
// The answer is chunked, and compressed if the client accepts gzip.
func playEcho(address string) error { return playHTTP(address, echo) }

// playHTTP serves HTTP on an address until standard input ends.
func playHTTP(address string, handle http.HandlerFunc) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handle, ReadHeaderTimeout: settle}
	go func() {
		<-lab.InputEnds()
		_ = server.Close()
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	var to io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		defer compressed.Close()
		to = compressed
	}
	_, _ = to.Write(body[:len(body)/2])
	w.(http.Flusher).Flush()
	_, _ = to.Write(body[len(body)/2:])
}

// document has what JSON can have, and what a number of OTLP or XML can't.
const document = `{
  "id": 12345678901234567890, "small": -7, "ratio": 0.1, "exact": 0.10000000000000000001, "big": 1e400,
  "text": "a<b & \"c\" \u00e9 \ud83d\ude00 \t", "empty": "", "nothing": null, "yes": true, "no": false,
  "a b": {"1st": "mangled", "xml": [], "": {}}, "list": [1, "1", [null, [true]], {"deep": {"er": 2.5}}]
}`

// tree is JSON as plain values. Numbers are text that begins with a number sign.
func tree(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value))
	return mapNumbers(value, func(n json.Number) any { return "#" + string(n) })
}

func mapNumbers(value any, number func(json.Number) any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = mapNumbers(v[key], number)
		}
	case []any:
		for i := range v {
			v[i] = mapNumbers(v[i], number)
		}
	case json.Number:
		return number(v)
	}
	return value
}

// element is an element of the XML form.
type element struct {
	XMLName  xml.Name
	Name     *string   `xml:"name,attr"`
	Type     string    `xml:"type,attr"`
	Elements []element `xml:",any"`
	Text     string    `xml:",chardata"`
}

// tree is the element as tree of a JSON text.
func (e *element) tree() any {
	switch e.Type {
	case "object":
		members := map[string]any{}
		for i := range e.Elements {
			child := &e.Elements[i]
			name := child.XMLName.Local
			if child.Name != nil {
				name = *child.Name
			}
			members[name] = child.tree()
		}
		return members
	case "array":
		items := []any{}
		for i := range e.Elements {
			items = append(items, e.Elements[i].tree())
		}
		return items
	case "number":
		return "#" + e.Text
	case "boolean":
		return e.Text == "true"
	case "null":
		return nil
	default:
		return e.Text
	}
}

// structured is what the structured form of a JSON text has: numbers that int64 or double would
// change are text.
func structured(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value))
	return mapNumbers(value, func(n json.Number) any {
		if i, err := n.Int64(); err == nil {
			return i
		}
		if f, err := n.Float64(); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == string(n) {
			return f
		}
		return string(n)
	})
}

// withBodies are settings of a receiver that reports bodies.
func withBodies(n *network, port int, bodies, more string) agentSettings {
	return agentSettings{
		in: n.server,
		receiver: fmt.Sprintf("    inspect: {http: {ports: [%d], bodies: {request_bytes: 4096, response_bytes: 4096, %s}%s}}",
			port, bodies, more),
	}
}

// post posts a document from the client with curl.
func post(t *testing.T, n *network, port int, path, contentType, body string, more ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
	arguments := append([]string{
		"-s", "-S", "-o", "/dev/null", "-H", "Content-Type: " + contentType, "-H", "Expect:", "--data-binary", "@" + file,
		"http://" + n.At(port).String() + path,
	}, more...)
	n.client.run(t, "curl", arguments...)
}

// TestBodies: one JSON document in each form has the same leaves, in both directions, chunked
// or compressed, through the real programs.
func TestBodies(t *testing.T) {
	const port = 28320
	n := newNetwork(t)
	n.server.act(t, "echo", n.At(port).String()).ready(t)
	for _, form := range []string{"structured", "xml", "raw", "hex"} {
		t.Run(form, func(t *testing.T) {
			out := startSink(t, n.server)
			agent := startAgent(t, out.endpoint, withBodies(n, port, "form: "+form, ""))
			post(t, n, port, "/plain", "application/json", document)
			post(t, n, port, "/chunked", "application/json; charset=utf-8", document, "-H", "Transfer-Encoding: chunked")
			post(t, n, port, "/compressed", "application/vnd.api+json", document, "-H", "Accept-Encoding: gzip")
			post(t, n, port, "/other", "text/plain", document)
			post(t, n, port, "/large", "application/json", `["`+strings.Repeat("x", 100_000)+`"]`)
			post(t, n, port, "/invalid", "application/json", `{"a":}`)
			agent.balance(func(b lab.Ledger) bool { return b["request"].Delivered >= 6 })
			agent.stop()
			out.stop()
			for _, path := range []string{"/plain", "/chunked", "/compressed"} {
				records := out.records(t, requestsFor(path))
				require.Len(t, records, 1, path)
				for _, side := range []string{"request", "response"} {
					checkForm(t, form, records[0].values["tcp.http."+side+".body."+form])
					assert.NotContains(t, records[0].values, "tcp.http."+side+".body.cut", path)
				}
				assert.NotContains(t, records[0].values, "error.type", path)
			}
			checkOthers(t, out, form)
		})
	}
}

func checkForm(t *testing.T, form string, got any) {
	t.Helper()
	switch form {
	case "structured":
		assert.Equal(t, structured(t, document), got)
	case "xml":
		var root element
		require.NoError(t, xml.Unmarshal([]byte(fmt.Sprint(got)), &root))
		assert.Equal(t, tree(t, document), root.tree())
	case "raw":
		assert.Equal(t, document, got)
	case "hex":
		assert.Equal(t, hex.EncodeToString([]byte(document)), got)
	}
}

// checkOthers checks what is not selected, too large, or invalid.
func checkOthers(t *testing.T, out *sink, form string) {
	t.Helper()
	other := out.records(t, requestsFor("/other"))
	require.Len(t, other, 1)
	for key := range other[0].values {
		assert.NotContains(t, key, ".body.r", "its content type is not selected")
	}
	large := out.records(t, requestsFor("/large"))
	require.Len(t, large, 1)
	const bound = 4096
	assert.EqualValues(t, 100_004, large[0].number(t, "http.request.body.size"))
	for _, side := range []string{"request", "response"} {
		prefix := "tcp.http." + side + ".body."
		assert.Equal(t, true, large[0].values[prefix+"cut"])
		if form == "hex" {
			assert.Len(t, large[0].values[prefix+"hex"], 2*bound)
			continue
		}
		assert.Equal(t, `["`+strings.Repeat("x", bound-2), large[0].values[prefix+"raw"])
	}
	invalid := out.records(t, requestsFor("/invalid"))
	require.Len(t, invalid, 1)
	if form == "structured" || form == "xml" {
		assert.Equal(t, "json_truncated", large[0].values["tcp.http.request.body.error.type"])
		assert.Equal(t, "json_invalid", invalid[0].values["tcp.http.request.body.error.type"])
		assert.Equal(t, "json_invalid", invalid[0].values["error.type"])
		assert.Equal(t, `{"a":}`, invalid[0].values["tcp.http.request.body.raw"])
	}
}

// TestBodiesUpToTheBound: the largest bound is kept, though such bodies pass before the receiver
// has parsed their heads.
func TestBodiesUpToTheBound(t *testing.T) {
	const port, bound = 28325, 64 << 10
	n := newNetwork(t)
	n.server.act(t, "echo", n.At(port).String()).ready(t)
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{
		in: n.server,
		receiver: fmt.Sprintf("    inspect: {http: {ports: [%d], bodies: {request_bytes: %d, response_bytes: %d, content_types: [text/*]}}}",
			port, bound, bound),
	})
	var text strings.Builder
	for i := 0; text.Len() < bound; i++ {
		fmt.Fprintln(&text, i)
	}
	whole := text.String()[:bound]
	post(t, n, port, "/whole", "text/plain", whole)
	post(t, n, port, "/more", "text/plain", whole+"more")
	agent.balance(func(b lab.Ledger) bool { return b["request"].Delivered >= 2 })
	agent.stop()
	out.stop()
	for path, cut := range map[string]any{"/whole": nil, "/more": true} {
		records := out.records(t, requestsFor(path))
		require.Len(t, records, 1)
		for _, side := range []string{"request", "response"} {
			prefix := "tcp.http." + side + ".body."
			assert.True(t, records[0].values[prefix+"raw"] == whole, "%s of %s", side, path)
			assert.Equal(t, cut, records[0].values[prefix+"cut"], "%s of %s", side, path)
		}
	}
}

// secret is planted everywhere. It is in no output of the collector.
const secret = "hunter2hunter2"

// TestSecrets: a secret in each of header, query, path and body is nowhere in what the collector
// writes: records, metrics, its own metrics, and its own log at debug level, with a debug
// exporter that prints everything.
func TestSecrets(t *testing.T) {
	const port = 28330
	n := newNetwork(t)
	n.server.act(t, "echo", n.At(port).String()).ready(t)
	for _, form := range []string{"raw", "hex", "structured", "xml"} {
		t.Run(form, func(t *testing.T) {
			out := startSink(t, n.server)
			agent := startDebugging(t, n, out, port, form)
			count := sendSecrets(t, n, port)
			agent.balance(func(b lab.Ledger) bool { return int(b["request"].Delivered) >= count })
			var own strings.Builder
			for _, m := range agent.metrics() {
				fmt.Fprintln(&own, m)
			}
			agent.stop()
			out.stop()
			assert.Len(t, out.records(t, func(r record) bool { return r.event == requestEvent }), count)
			said := agent.said()
			assert.Contains(t, said, "REDACTED", "the debug exporter prints records")
			assert.Contains(t, said, "\tdebug\t", "the log is at debug level")
			for name, text := range map[string]string{
				"log": said, "own metrics": own.String(), "records": contents(t, out.logs), "metrics": contents(t, out.metrics),
				"log of the sink": out.said(),
			} {
				for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))[:16]} {
					assert.NotContains(t, text, form, name)
				}
			}
		})
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotEmpty(t, text)
	return string(text)
}

func startDebugging(t *testing.T, n *network, out *sink, port int, form string) *collector {
	t.Helper()
	configuration := fmt.Sprintf(`
receivers:
  ebpf_tcp:
    collection_interval: 1s
    inspect:
      http:
        ports: [%d]
        request_headers: ["*"]
        response_headers: ["*"]
        redact: {patterns: ["hunter2\\w*"]}
        bodies: {request_bytes: 4096, response_bytes: 4096, content_types: ["*/*"], form: %s}
exporters:
  otlp_grpc: {endpoint: %q, tls: {insecure: true}}
  debug: {verbosity: detailed, sampling_initial: 10000}
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_grpc, debug]}
    metrics: {receivers: [ebpf_tcp], exporters: [otlp_grpc, debug]}
`, port, form, out.endpoint)
	return launch(t, "agent", lab.Launch{
		In: n.server.Namespace, Configuration: configuration, Telemetry: freePort(t), Level: "detailed",
		Arguments: []string{"--set=service::telemetry::logs::level=debug"},
	})
}

// sendSecrets sends requests with secrets, and returns how many.
func sendSecrets(t *testing.T, n *network, port int) int {
	t.Helper()
	var escaped bytes.Buffer
	for _, c := range secret {
		fmt.Fprintf(&escaped, `\u%04x`, c)
	}
	headers := []string{"-H", "Authorization: Bearer " + secret, "-H", "Cookie: id=" + secret, "-H", "X-Own: " + secret, "-A", secret}
	send := func(path, contentType, body string, more ...string) {
		post(t, n, port, path, contentType, body, append(more, headers...)...)
	}
	send("/a/"+secret+"?token="+secret+"&"+secret, "application/json", `{"password": "`+secret+`"}`)
	send("/b", "application/json", `{"password": "`+escaped.String()+`"}`, "-H", "Accept-Encoding: gzip")
	send("/c", "application/json", `{"`+secret+`": [1, "`+secret+`"`)
	send("/d", "text/plain", strings.Repeat("x", 4096-5)+secret)
	send("/e", "application/x-www-form-urlencoded", "password=%68"+secret[1:], "-H", "Transfer-Encoding: chunked")
	send("/f", "application/octet-stream", "\x00\xff"+secret)
	send("/g", "text/plain", secret, "-H", "Content-Encoding: br", "-X", secret)
	send("/h?"+secret+"#"+secret, secret+"/"+secret, secret, "-H", "Host: user:"+secret+"@host", "-H", "traceparent: "+secret)
	return 8
}
