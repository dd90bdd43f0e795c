// SPDX-License-Identifier: Apache-2.0

package genai

// The names and values of OpenTelemetry's semantic conventions for generative AI, as of
// version 1.41.0. The otel module has no later version of them. All of the conventions that
// the receiver uses are in this file.

// Attributes.
const (
	AttrOperationName            = "gen_ai.operation.name"
	AttrProviderName             = "gen_ai.provider.name"
	AttrRequestModel             = "gen_ai.request.model"
	AttrRequestStream            = "gen_ai.request.stream"
	AttrResponseModel            = "gen_ai.response.model"
	AttrResponseID               = "gen_ai.response.id"
	AttrResponseFinishReasons    = "gen_ai.response.finish_reasons"
	AttrResponseTimeToFirstChunk = "gen_ai.response.time_to_first_chunk"
	AttrTokenType                = "gen_ai.token.type"
	AttrUsageInputTokens         = "gen_ai.usage.input_tokens"
	AttrUsageOutputTokens        = "gen_ai.usage.output_tokens"
	AttrUsageCacheReadTokens     = "gen_ai.usage.cache_read.input_tokens"
	AttrUsageCacheCreationTokens = "gen_ai.usage.cache_creation.input_tokens"
	AttrUsageReasoningTokens     = "gen_ai.usage.reasoning.output_tokens"
)

// Metrics.
const (
	MetricServerRequestDuration  = "gen_ai.server.request.duration"
	MetricServerTimeToFirstToken = "gen_ai.server.time_to_first_token"
	MetricClientTokenUsage       = "gen_ai.client.token.usage"
)

// Values of gen_ai.operation.name.
const (
	OperationChat           = "chat"
	OperationTextCompletion = "text_completion"
	OperationEmbeddings     = "embeddings"
)

// Values of gen_ai.provider.name. They name the form of the API: others serve the same
// forms.
const (
	ProviderOpenAI      = "openai"
	ProviderAzureOpenAI = "azure.ai.openai"
	ProviderAnthropic   = "anthropic"
)

// Values of gen_ai.token.type.
const (
	TokenInput  = "input"
	TokenOutput = "output"
)
