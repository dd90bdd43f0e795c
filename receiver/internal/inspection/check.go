// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Bounds of the configuration, both ends allowed.
const (
	minHeadBytes, maxHeadBytes   = 1 << 10, 64 << 10
	minIdle, maxIdle             = time.Second, time.Hour
	minDuration, maxDuration     = time.Duration(0), time.Hour
	minSampleRate, maxSampleRate = 0, 1 << 30
	maxMethodBytes               = 32
)

const portsKey = "inspect::http::ports"

// Validate adds the faults of the block to f. Sees reports whether connections to a port are
// reported at all.
func (c *Config) Validate(f *check.Faults, mode string, sees func(port uint16) bool) {
	http := &c.HTTP
	check.InRange(f, "inspect::http::head_bytes", http.HeadBytes, minHeadBytes, maxHeadBytes)
	check.InRange(f, "inspect::http::idle_timeout", http.IdleTimeout, minIdle, maxIdle)
	for i, method := range http.Methods {
		checkMethod(f, item("inspect::http::methods", i), method)
	}
	c.View(f)
	http.Select.validate(f)
	http.Gateways.validate(f)
	http.GRPC.validate(f)
	http.Bodies.validate(f, http.ranges())
	http.Routes.validate(f)
	c.TLS.validate(f)
	for _, of := range c.ports() {
		of.validate(f, mode, sees)
	}
}

// validate refuses ports whose packets nothing sees.
func (p *ports) validate(f *check.Faults, mode string, sees func(port uint16) bool) {
	if len(p.items) > 0 && mode == string(probe.TCOff) {
		f.Add(p.key, "needs to see packets, but tc::mode is %q", mode)
	}
	for i := range p.items {
		// Ports that can't be parsed are faults already.
		var ignored check.Faults
		for _, r := range check.Ports(&ignored, "", p.items[i:i+1]) {
			if port, ok := unseen(r, sees); ok {
				f.Add(item(p.key, i), "port %d can't be inspected: ports::include or ports::exclude leaves it out", port)
			}
		}
	}
}

// unseen returns the first port of a range that nothing sees.
func unseen(r probe.PortRange, sees func(port uint16) bool) (int, bool) {
	for port := int(r.First); port <= int(r.Last); port++ {
		if !sees(uint16(port)) {
			return port, true
		}
	}
	return 0, false
}

func (s *SelectConfig) validate(f *check.Faults) {
	check.InRange(f, "inspect::http::select::sample_rate", s.SampleRate, minSampleRate, maxSampleRate)
	check.InRange(f, "inspect::http::select::min_duration", s.MinDuration, minDuration, maxDuration)
	for i, text := range s.Statuses {
		if _, ok := rpc.CodeOf(text); ok {
			continue
		}
		if _, _, err := parseStatus(text); err != nil {
			f.Add(item("inspect::http::select::statuses", i), "%q: %w", text, err)
		}
	}
}

// parseStatus returns the first and the last status of "404" or "5xx".
func parseStatus(text string) (first, last int, err error) {
	digits, class := strings.CutSuffix(text, "xx")
	n, err := strconv.Atoi(digits)
	switch {
	case class && err == nil && len(digits) == 1 && 1 <= n && n <= 9:
		return n * 100, n*100 + 99, nil
	case !class && err == nil && len(digits) == 3 && 100 <= n && n <= 999:
		return n, n, nil
	default:
		return 0, 0, errors.New(`neither a status such as "404", a class such as "5xx", nor a code of gRPC such as "UNAVAILABLE"`)
	}
}

// checkMethod checks the name of a method.
func checkMethod(f *check.Faults, key, text string) {
	switch {
	case text == "":
		f.Add(key, "a name is missing")
	case len(text) > maxMethodBytes:
		f.Add(key, "a name of %d bytes is too long, allowed are %d", len(text), maxMethodBytes)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}*`, r) }):
		f.Add(key, "%q is not a name of HTTP", text)
	}
}

// item is the key of an item of a list.
func item(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }
