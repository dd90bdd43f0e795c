// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bufio"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// runtimeVariable is a folder whose node_modules has onnxruntime-node; make test-model sets it.
const runtimeVariable = "EBPF_TCP_ONNXRUNTIME"

// runtimeHost says whether this host has ONNX Runtime.
type runtimeHost struct{}

func (runtimeHost) Lacks(string) (string, error) {
	folder := os.Getenv(runtimeVariable)
	if folder == "" {
		return "make test-model installs it", nil
	}
	if _, err := exec.LookPath("node"); err != nil {
		return "", err
	}
	_, err := os.Stat(filepath.Join(folder, "node_modules", "onnxruntime-node"))
	return "", err
}

// message appends a field with a message or string.
func message(to []byte, field protowire.Number, content ...[]byte) []byte {
	var all []byte
	for _, c := range content {
		all = append(all, c...)
	}
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), all)
}

func text(field protowire.Number, s string) []byte { return message(nil, field, []byte(s)) }

func varint(field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), n)
}

const onnxFloat = 1

// initializer is a TensorProto: dims, data_type, name, raw_data.
func initializer(name string, dims []uint64, values []float32) []byte {
	var tensor, raw []byte
	for _, n := range dims {
		tensor = append(tensor, varint(1, n)...)
	}
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return message(nil, 5, tensor, varint(2, onnxFloat), text(8, name), message(nil, 9, raw))
}

// valueInfo is a ValueInfoProto of a matrix with any number of rows.
func valueInfo(field protowire.Number, name string, columns uint64) []byte {
	shape := append(message(nil, 1, text(2, "n")), message(nil, 1, varint(1, columns))...)
	return message(nil, field, text(1, name), message(nil, 2, message(nil, 1, varint(1, onnxFloat), message(nil, 2, shape))))
}

// node is a NodeProto.
func node(operator, output string, inputs ...string) []byte {
	var all []byte
	for _, in := range inputs {
		all = append(all, text(1, in)...)
	}
	return message(nil, 1, all, text(2, output), text(4, operator))
}

// logistic is an ONNX model: sigmoid(x · weights + bias).
func logistic(weights []float32, bias float32) []byte {
	n := uint64(len(weights))
	graph := message(nil, 7,
		node("MatMul", "product", "x", "weights"), node("Add", "sum", "product", "bias"), node("Sigmoid", "score", "sum"),
		text(2, "logistic"),
		initializer("weights", []uint64{n, 1}, weights), initializer("bias", []uint64{1}, []float32{bias}),
		valueInfo(11, "x", n), valueInfo(12, "score", 1))
	opset := message(nil, 8, varint(2, 13))
	return append(append(varint(1, 8), graph...), opset...)
}

// startRuntime serves the model in a process of its own, and returns its endpoint.
func startRuntime(t *testing.T, model []byte) string {
	t.Helper()
	testbed.Need(t, runtimeHost{}, "onnxruntime-node")
	file := filepath.Join(t.TempDir(), "model.onnx")
	require.NoError(t, os.WriteFile(file, model, 0o600))
	cmd := exec.Command("node", "testdata/onnxserver.js", os.Getenv(runtimeVariable), file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// TestONNXRuntime scores vectors by a real model in another process.
func TestONNXRuntime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	weights := make([]float32, vector.Size)
	for i := range weights {
		weights[i] = float32(random.NormFloat64()) / 8
	}
	config := DefaultConfig()
	config.Client.Endpoint, config.Client.Timeout, config.Name = startRuntime(t, logistic(weights, -0.5)), 30*time.Second, "test"
	b := newBench(t, config)
	const n = 1000
	expected := make([]float64, n)
	for i := range n {
		var v vector.Vector
		sum := -0.5
		for f := range v {
			v[f] = random.Float64() * 1000
			sum += float64(weights[f]) * vector.Feature(f).Scale(v[f])
		}
		expected[i] = 1 / (1 + math.Exp(-sum))
		b.Offer(&v, i)
		b.offered++
	}
	require.NoError(t, b.Start(t.Context()))
	b.wait(t, Scored, n)
	for i := range n {
		score, _ := b.score(i)
		assert.InDelta(t, expected[i], score, 1e-4)
	}

	config.Features = []string{"attempts", "failed"}
	require.ErrorContains(t, newBench(t, config).Start(t.Context()), "[-1 25]")
}
