// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// MayEnterNetNS returns an error when this process may not move between network namespaces,
// or the configuration excludes that.
func MayEnterNetNS(excluded Patterns) error {
	if err := excluded.Refuse(netns.Hook); err != nil {
		return err
	}
	return capability.Explain(netns.MayEnter(), capability.SysAdmin)
}
