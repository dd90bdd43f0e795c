// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// GRPCConfig is about calls of gRPC.
type GRPCConfig struct {
	// Methods are the full names that metrics have. If empty, they are the first that were
	// answered with OK.
	Methods []string `mapstructure:"methods"`

	_ struct{}
}

func (c *GRPCConfig) validate(f *check.Faults) {
	for i, method := range c.Methods {
		key := item("inspect::http::grpc::methods", i)
		service, name, ok := strings.Cut(method, "/")
		switch {
		case len(method) > httpview.MaxMethodBytes:
			f.Add(key, "a name of %d bytes is too long, allowed are %d", len(method), httpview.MaxMethodBytes)
		case !ok || service == "" || name == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }):
			f.Add(key, "%q is no full name such as package.Service/Method", method)
		}
	}
}
