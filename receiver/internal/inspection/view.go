// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// View is what the receiver's rooms get. It adds faults of what it compiles to f.
func (c *Config) View(f *check.Faults) httpview.Options {
	http := &c.HTTP
	options := httpview.Options{
		Methods: http.Methods, Select: http.Select.selection(), Gateways: http.Gateways.view(), Routes: http.Routes.view(f),
	}
	options.RPCMethods = http.GRPC.Methods
	options.Models = http.Gateways.OpenAI.view()
	options.Bodies = http.Bodies.view(f, http.ranges())
	var err error
	if options.Redact, err = privacy.New(privacy.Options{
		AllowHeaders: http.Redact.AllowHeaders,
		AllowQuery:   http.Redact.AllowQuery,
		Patterns:     http.Redact.Patterns,
	}); err != nil {
		addEach(f, "inspect::http::redact", err)
	}
	if options.RequestHeaders, err = privacy.NewHeaders("http.request.header", http.RequestHeaders); err != nil {
		f.Add("inspect::http::request_headers", "%w", err)
	}
	if options.AnswerHeaders, err = privacy.NewHeaders("http.response.header", http.ResponseHeaders); err != nil {
		f.Add("inspect::http::response_headers", "%w", err)
	}
	if options.Trust, err = forwarded.NewTrust(http.TrustedProxies); err != nil {
		f.Add("inspect::http::trusted_proxies", "%w", err)
	}
	return options
}

// addEach adds joined errors. Each begins with the name of a key in a block.
func addEach(f *check.Faults, block string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		key, _, _ := strings.Cut(err.Error(), ":")
		f.Add(block+"::"+key, "%s", strings.TrimPrefix(err.Error(), key+": "))
		return
	}
	for _, one := range joined.Unwrap() {
		addEach(f, block, one)
	}
}

func (s *SelectConfig) selection() httpview.Selection {
	selection := httpview.Selection{SampleRate: s.SampleRate, MinDuration: s.MinDuration, Problems: s.Problems}
	for _, text := range s.Statuses {
		if code, ok := rpc.CodeOf(text); ok {
			selection.Codes[code] = true
			continue
		}
		// Validate refuses others.
		if first, last, err := parseStatus(text); err == nil {
			for status := first; status <= last; status++ {
				selection.Statuses[status] = true
			}
		}
	}
	return selection
}
