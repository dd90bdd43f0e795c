// SPDX-License-Identifier: Apache-2.0

// Command dashboards writes Grafana dashboards from the queries of deploy/queries.yaml. It is a module of
// its own, because of the library that checks the dashboards' types.
//
// Usage: dashboards FOLDER
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/text"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/ebpftcp/ebpftcpreceiver/deploy"
)

//go:generate go run . ../../../deploy/grafana

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// board is a dashboard.
type board struct {
	name, title string
	// shows are the boards of queries.yaml that it has, and variables what can be chosen.
	shows     []string
	variables []variable
}

// variable is a label that can be chosen, or all its values.
type variable struct{ name, metric, label string }

func boards() []board {
	service := variable{"service", "tcp_server_connection_opened_total", "process_executable_name"}
	port := variable{"port", "tcp_server_connection_opened_total", "server_port"}
	host := variable{"host", "tcp_server_packets_total", "instance"}
	return []board{
		{"overview", "TCP: all services", []string{"overview"}, []variable{service, port}},
		{"service", "TCP: one service", []string{"overview", "service"}, []variable{service, port}},
		{"host", "TCP: one host", []string{"host"}, []variable{host}},
		{"receiver", "TCP: the receiver itself", []string{"receiver"}, nil},
	}
}

func run(folder string) error {
	queries, err := deploy.Queries()
	if err != nil {
		return err
	}
	for _, b := range boards() {
		made, err := b.build(queries)
		if err != nil {
			return fmt.Errorf("make the dashboard %s: %w", b.name, err)
		}
		encoded, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the dashboard %s: %w", b.name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, b.name+".json"), append(encoded, '\n'), 0o644); err != nil {
			return fmt.Errorf("write the dashboard %s: %w", b.name, err)
		}
	}
	return nil
}

// source is the variable that chooses the backend.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${source}")}
}

// Sizes of a panel on Grafana's grid, which is 24 wide.
const width, height = 12, 8

func (b board) build(queries []deploy.Query) (dashboard.Dashboard, error) {
	made := dashboard.NewDashboardBuilder(b.title).Uid("ebpf-tcp-"+b.name).
		Tags([]string{"ebpf_tcp"}).Refresh("1m").Time("now-1h", "now").Readonly().
		WithVariable(dashboard.NewDatasourceVariableBuilder("source").Label("Source").Type("prometheus"))
	for _, v := range b.variables {
		made.WithVariable(v.build())
	}
	for _, q := range queries {
		if !strings.Contains(" "+strings.Join(b.shows, " ")+" ", " "+q.Board+" ") {
			continue
		}
		if q.PromQL != "" {
			made.WithPanel(graph(q))
		} else {
			made.WithPanel(words(q))
		}
	}
	return made.Build()
}

func (v variable) build() *dashboard.QueryVariableBuilder {
	query := fmt.Sprintf("label_values(%s, %s)", v.metric, v.label)
	return dashboard.NewQueryVariableBuilder(v.name).Label(strings.ToUpper(v.name[:1]) + v.name[1:]).
		Datasource(source()).Query(dashboard.StringOrMap{String: &query}).Definition(query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Multi(true).IncludeAll(true).AllValue(".*")
}

// graph is a panel with the result of a query over time.
func graph(q deploy.Query) *timeseries.PanelBuilder {
	expression := deploy.Select(q.PromQL, `process_executable_name=~"$service", server_port=~"$port"`, `instance=~"$host"`)
	return timeseries.NewPanelBuilder().Title(q.Title).Description(q.Answer).Unit(q.Unit).
		Datasource(source()).Height(height).Span(width).NoValue("not available here").
		WithTarget(prometheus.NewDataqueryBuilder().Datasource(source()).Expr(expression).RefId("A"))
}

// words is a panel with a question that records answer. Backends of logs have plugins of their own.
func words(q deploy.Query) *text.PanelBuilder {
	return text.NewPanelBuilder().Title(q.Title).Height(height).Span(width).Mode(text.TextModeMarkdown).
		Content(fmt.Sprintf("Ask the records (LogsQL):\n\n```\n%s\n```\n\n%s\n", strings.ReplaceAll(q.LogsQL, " | ", "\n  | "), q.Answer))
}
