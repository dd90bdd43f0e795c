// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// BodiesConfig says which bodies records have. Without bytes, they have none.
type BodiesConfig struct {
	// Ports are inspected ports, numbers or ranges; empty is all of them.
	Ports []any `mapstructure:"ports"`
	// RequestBytes and ResponseBytes are how many of the first bytes are used, as sent.
	RequestBytes  int `mapstructure:"request_bytes"`
	ResponseBytes int `mapstructure:"response_bytes"`
	// ContentTypes are such as application/json, application/*+json, text/* or */*.
	ContentTypes []string `mapstructure:"content_types"`
	// Form is "raw", "hex", "structured" or "xml".
	Form string `mapstructure:"form"`
	// Decode bounds what gzip and deflate expand to.
	Decode DecodeConfig `mapstructure:"decode"`

	_ struct{}
}

// DecodeConfig bounds content encodings. What is beyond is cut.
type DecodeConfig struct {
	MaxBytes int `mapstructure:"max_bytes"`
	// MaxRatio is how much larger than the body the content may be. 4 KiB are always decoded.
	MaxRatio int `mapstructure:"max_ratio"`

	_ struct{}
}

// Bounds of bodies. A record with two bodies in any form stays below 1.5 MiB, so that a batch
// with it is within the 4 MiB that OTLP servers accept.
const (
	minBodyBytes, maxBodyBytes     = 0, 64 << 10
	minDecodeBytes, maxDecodeBytes = 1 << 10, 256 << 10
	minRatio, maxRatio             = 1, 10000
)

const bodiesKey = "inspect::http::bodies"

func defaultBodies() BodiesConfig {
	return BodiesConfig{
		ContentTypes: []string{"application/json", "application/*+json"},
		Form:         payload.Raw.String(),
		Decode:       DecodeConfig{MaxBytes: 64 << 10, MaxRatio: 100},
	}
}

func (c *BodiesConfig) on() bool { return c.RequestBytes > 0 || c.ResponseBytes > 0 }

// WithBodies reports whether records have bodies.
func (c *Config) WithBodies() bool { return c.On() && c.HTTP.Bodies.on() }

// validate adds the faults of what view does not compile. Inspected has the ports that are
// inspected.
func (c *BodiesConfig) validate(f *check.Faults, inspected []probe.PortRange) {
	check.InRange(f, bodiesKey+"::request_bytes", c.RequestBytes, minBodyBytes, maxBodyBytes)
	check.InRange(f, bodiesKey+"::response_bytes", c.ResponseBytes, minBodyBytes, maxBodyBytes)
	check.InRange(f, bodiesKey+"::decode::max_bytes", c.Decode.MaxBytes, minDecodeBytes, maxDecodeBytes)
	check.InRange(f, bodiesKey+"::decode::max_ratio", c.Decode.MaxRatio, minRatio, maxRatio)
	if c.on() && len(c.ContentTypes) == 0 {
		f.Add(bodiesKey+"::content_types", "selects no body")
	}
	known := portsOf(inspected)
	for i := range c.Ports {
		for _, r := range check.Ports(f, bodiesKey+"::ports", c.Ports[i:i+1]) {
			if port, ok := unseen(r, func(port uint16) bool { return known[port] }); ok {
				f.Add(item(bodiesKey+"::ports", i), "port %d is not inspected", port)
			}
		}
	}
}

// ranges are the ports whose bodies records have.
func (c *BodiesConfig) ranges(inspected []probe.PortRange) []probe.PortRange {
	if len(c.Ports) == 0 {
		return inspected
	}
	var ignored check.Faults
	return check.Ports(&ignored, "", c.Ports)
}

// settings are the ports whose bodies cross for records.
func (c *BodiesConfig) settings(inspected []probe.PortRange) []settings.InspectedPorts {
	if !c.on() {
		return nil
	}
	var all []settings.InspectedPorts
	for _, r := range c.ranges(inspected) {
		all = append(all, settings.InspectedPorts{
			PortRange: r, Bodies: settings.Bodies{Request: c.RequestBytes, Answer: c.ResponseBytes}, ForRecords: true,
		})
	}
	return all
}

// view is what the receiver's rooms get; nil without bodies. It adds faults to f.
func (c *BodiesConfig) view(f *check.Faults, inspected []probe.PortRange) *httpview.Bodies {
	form, ok := payload.ParseForm(c.Form)
	if !ok {
		var forms []string
		for form := payload.Raw; form < payload.Forms; form++ {
			forms = append(forms, form.String())
		}
		check.OneOf(f, bodiesKey+"::form", c.Form, forms...)
	}
	for i := range c.ContentTypes {
		if _, err := payload.NewSelection(c.ContentTypes[i : i+1]); err != nil {
			f.Add(item(bodiesKey+"::content_types", i), "%w", err)
		}
	}
	types, err := payload.NewSelection(c.ContentTypes)
	if !c.on() || err != nil {
		return nil
	}
	return &httpview.Bodies{
		Ports: portsOf(c.ranges(inspected)), Request: c.RequestBytes, Answer: c.ResponseBytes,
		Types: types, Form: form, MaxDecoded: c.Decode.MaxBytes, MaxRatio: c.Decode.MaxRatio,
	}
}
