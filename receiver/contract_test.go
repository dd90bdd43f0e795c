// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	signal "go.opentelemetry.io/collector/pipeline"
	rcvr "go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// contractGenerator makes connections on the latest kernel.
type contractGenerator struct{ env *fakeEnvironment }

func (contractGenerator) Start() {}
func (contractGenerator) Stop()  {}

func (g contractGenerator) Generate() []receivertest.UniqueIDAttrVal {
	k := g.env.last()
	c := k.Open()
	k.End(c)
	return []receivertest.UniqueIDAttrVal{receivertest.UniqueIDAttrVal(strconv.FormatUint(c.ID, 36))}
}

// withTestID copies the connection's number to the attribute that the contract's checker reads.
func withTestID(next consumer.Logs) consumer.Logs {
	return logsFunc{mutates: true, consume: func(ctx context.Context, logs plog.Logs) error {
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					id, _ := record.Attributes().Get("tcp.connection.id")
					// The checker generates ids before it knows the start.
					_, number, _ := strings.Cut(id.Str(), "-")
					record.Attributes().PutStr(receivertest.UniqueIDAttrName, number)
				}
			}
		}
		return next.ConsumeLogs(ctx, logs)
	}}
}

func TestConsumeContract(t *testing.T) {
	env := &fakeEnvironment{t: t}
	inner := newFactory(env.environment())
	factory := rcvr.NewFactory(metadata.Type, inner.CreateDefaultConfig, rcvr.WithLogs(
		func(ctx context.Context, set rcvr.Settings, cfg component.Config, next consumer.Logs) (rcvr.Logs, error) {
			return inner.CreateLogs(ctx, set, cfg, withTestID(next))
		}, metadata.LogsStability))
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T:             t,
		Factory:       factory,
		Signal:        signal.SignalLogs,
		Config:        testConfig(),
		Generator:     contractGenerator{env},
		GenerateCount: 200,
	})
}
