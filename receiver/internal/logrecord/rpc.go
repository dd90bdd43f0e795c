// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// putRPC writes what is known of a remote procedure call.
func (l *Logs) putRPC(row *row, call *httpview.RPC) {
	row.str(declared.AttrRPCSystemName, call.System)
	l.putText(row, declared.AttrRPCMethod, call.Method)
	if call.Code != rpc.CodeAbsent {
		row.str(declared.AttrRPCResponseStatusCode, call.Code.String())
	}
	if call.FirstMessage > 0 {
		row.double(declared.AttrHTTPFirstMessageDuration, seconds(call.FirstMessage))
	}
}
