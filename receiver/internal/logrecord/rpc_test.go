// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func TestRPCRecord(t *testing.T) {
	record := requestRecord(t, facttest.RPC())
	got := record.Attributes().AsRaw()
	for name, want := range map[string]any{
		rpc.AttrSystemName: "grpc", rpc.AttrMethod: "shop.v1.Cart/Add", rpc.AttrResponseStatusCode: "UNAVAILABLE",
		"error.type": "UNAVAILABLE", "tcp.http.first_message.duration": 0.004, "tcp.http.duration": 0.012,
		"http.response.status_code": int64(200), "url.path": "/shop.v1.Cart/Add", "network.protocol.version": "2",
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
	assert.Contains(t, record.Body().Str(), "POST /shop.v1.Cart/Add 200 UNAVAILABLE 12ms")

	// A call whose answer was not seen has no code, and no name of another reason.
	e := facttest.RPC()
	e.Answer, e.Status, e.Problem = request.Message{}, 0, request.ProblemIdle
	got = requestRecord(t, e).Attributes().AsRaw()
	assert.NotContains(t, got, rpc.AttrResponseStatusCode)
	assert.NotContains(t, got, "tcp.http.first_message.duration")
	assert.Equal(t, "idle", got["error.type"])

	assert.NotContains(t, requestRecord(t, facttest.Exchange()).Attributes().AsRaw(), rpc.AttrSystemName)
}
