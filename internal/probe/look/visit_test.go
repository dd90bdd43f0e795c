// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package look

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// A namespace that can't be entered costs the looks at its own sockets and at no others.
func TestVisitSkipsANamespace(t *testing.T) {
	const refused = 2
	v := newVisitor[shared.ListenerLook](&Sources{OwnNetNS: 1}, "visit_listeners", "queues")
	v.visited = make(map[uint32]bool)
	assert.Zero(t, v.lacks())
	v.skipped = v.visitOthers(map[uint32]bool{refused: true, 3: true, 4: true}, func(inode uint32, f func() error) error {
		if inode == refused {
			return unix.EBUSY
		}
		return f()
	})
	assert.Equal(t, map[uint32]bool{3: true, 4: true}, v.visited)
	lacks := v.lacks()
	assert.Equal(t, "queues in some other network namespaces", lacks.gives)
	assert.Equal(t, "setns", lacks.hook)
	assert.ErrorIs(t, lacks.err, unix.EBUSY)
}
