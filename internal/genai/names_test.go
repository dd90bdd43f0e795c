// SPDX-License-Identifier: Apache-2.0

package genai_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	conventions "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/semconv/v1.41.0/genaiconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
)

// TestNames holds the names to the conventions.
func TestNames(t *testing.T) {
	for name, key := range map[string]attribute.Key{
		genai.AttrOperationName:            conventions.GenAIOperationNameKey,
		genai.AttrProviderName:             conventions.GenAIProviderNameKey,
		genai.AttrRequestModel:             conventions.GenAIRequestModelKey,
		genai.AttrRequestStream:            conventions.GenAIRequestStreamKey,
		genai.AttrResponseModel:            conventions.GenAIResponseModelKey,
		genai.AttrResponseID:               conventions.GenAIResponseIDKey,
		genai.AttrResponseFinishReasons:    conventions.GenAIResponseFinishReasonsKey,
		genai.AttrResponseTimeToFirstChunk: conventions.GenAIResponseTimeToFirstChunkKey,
		genai.AttrTokenType:                conventions.GenAITokenTypeKey,
		genai.AttrUsageInputTokens:         conventions.GenAIUsageInputTokensKey,
		genai.AttrUsageOutputTokens:        conventions.GenAIUsageOutputTokensKey,
		genai.AttrUsageCacheReadTokens:     conventions.GenAIUsageCacheReadInputTokensKey,
		genai.AttrUsageCacheCreationTokens: conventions.GenAIUsageCacheCreationInputTokensKey,
		genai.AttrUsageReasoningTokens:     conventions.GenAIUsageReasoningOutputTokensKey,
	} {
		require.Equal(t, string(key), name)
	}
	for value, want := range map[string]attribute.KeyValue{
		genai.OperationChat:           conventions.GenAIOperationNameChat,
		genai.OperationTextCompletion: conventions.GenAIOperationNameTextCompletion,
		genai.OperationEmbeddings:     conventions.GenAIOperationNameEmbeddings,
		genai.ProviderOpenAI:          conventions.GenAIProviderNameOpenAI,
		genai.ProviderAzureOpenAI:     conventions.GenAIProviderNameAzureAIOpenAI,
		genai.ProviderAnthropic:       conventions.GenAIProviderNameAnthropic,
		genai.TokenInput:              conventions.GenAITokenTypeInput,
		genai.TokenOutput:             conventions.GenAITokenTypeOutput,
	} {
		require.Equal(t, want.Value.AsString(), value)
	}
	require.Equal(t, genaiconv.ServerRequestDuration{}.Name(), genai.MetricServerRequestDuration)
	require.Equal(t, genaiconv.ServerTimeToFirstToken{}.Name(), genai.MetricServerTimeToFirstToken)
	require.Equal(t, genaiconv.ClientTokenUsage{}.Name(), genai.MetricClientTokenUsage)
}
