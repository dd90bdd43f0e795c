// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

func TestUnderWay(t *testing.T) {
	s := newSession()
	underWay := func() (got []string) {
		s.conn.UnderWay(func(e *request.Exchange) { got = append(got, string(e.Method)+" "+string(e.Target)) })
		return got
	}
	s.open()
	s.request(1, true)
	s.request(3, true)
	s.flush(toServer)
	assert.Equal(t, []string{"GET /1", "GET /3"}, underWay())
	s.answer(1, true)
	s.flush(toClient)
	assert.Equal(t, []string{"GET /3"}, underWay())
	s.answer(3, true)
	s.flush(toClient)
	assert.Empty(t, underWay())
	assert.Equal(t, []string{"GET /1 200", "GET /3 200"}, s.got)
}
