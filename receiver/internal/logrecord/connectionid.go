// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// Instance names one start of one receiver. The kernel side numbers connections from 1 at each
// start. Instance and number together are unique.
type Instance string

// instanceLen gives 60 random bits. The chance that two of a million starts draw the same
// instance is one in two million.
const instanceLen = 12

// NewInstance draws an instance.
func NewInstance() Instance { return Instance(strings.ToLower(rand.Text()[:instanceLen])) }

// connectionID returns the value of tcp.connection.id.
func (l *Logs) connectionID(number uint64) string {
	id := append(append(l.line[:0], l.options.Instance...), '-')
	id = strconv.AppendUint(id, number, 36)
	l.line = id[:0]
	l.bytes += len(id)
	return l.text.add(id)
}
