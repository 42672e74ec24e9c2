{#-
    How the dialects count: one entry per dialect, one rule per entry. A rule is made of sums of terms.

    A term is a path into the usage block (`a/b`), or a count over the items of a list whose key has one of some values
    (`list[key=x,y].count`; `list[*].count` for all), or alternatives of which the first that is present counts (`a|b`).
    A whole is unknown when one of its terms is absent, unless the term ends in `?`; it is unknown when all are. A part
    that is absent is 0. A term with `-` before it is taken off.

    - `input`, `output`: what sums to the whole input and the whole output, every kind in it once. A count that
      includes another (OpenAI's `prompt_tokens` its cached ones) stands alone; counts that exclude one another
      (Anthropic's) stand side by side. Without `output` the dialect has no output and none is missing.
    - `kinds`: the parts of the wholes that are kinds of their own, and the counted units. What is left of the input is
      `input` (`embedding` in an embedding call), what is left of the output is `output`.
    - `total`: the vendor's own total of both, if it states one; the wholes must equal it.

    Sources: the vendors' API references, as of 2026-11.
-#}
{% macro usage_dialects() -%}
    {#- Cached, audio and image tokens are inside prompt_tokens; reasoning and audio are inside completion_tokens. -#}
    {%- set openai_chat = {
        'input': ['prompt_tokens'],
        'output': ['completion_tokens'],
        'total': ['total_tokens'],
        'kinds': {
            'cache_read': ['prompt_tokens_details/cached_tokens|prompt_token_details/cached_tokens'],
            'cache_write_5m': [
                'prompt_tokens_details/cache_write_tokens',
                '-prompt_tokens_details/cache_write_tokens_details/ttl_12h_tokens',
            ],
            'cache_write_12h': ['prompt_tokens_details/cache_write_tokens_details/ttl_12h_tokens'],
            'reasoning': [
                'completion_tokens_details/reasoning_tokens|completion_token_details/reasoning_tokens',
            ],
            'input_audio': ['prompt_tokens_details/audio_tokens'],
            'input_image': ['prompt_tokens_details/image_tokens'],
            'output_audio': ['completion_tokens_details/audio_tokens'],
            'output_image': ['completion_tokens_details/image_tokens'],
        },
    } -%}
    {%- set openai_responses = {
        'input': ['input_tokens'],
        'output': ['output_tokens'],
        'total': ['total_tokens'],
        'kinds': {
            'cache_read': [
                'input_tokens_details/cached_tokens|input_token_details/cached_tokens',
                '-input_token_details/cached_tokens_details/audio_tokens',
                '-input_token_details/cached_tokens_details/image_tokens',
            ],
            'cache_read_audio': ['input_token_details/cached_tokens_details/audio_tokens'],
            'cache_read_image': ['input_token_details/cached_tokens_details/image_tokens'],
            'cache_write_5m': [
                'input_tokens_details/cache_write_tokens',
                '-input_tokens_details/cache_write_tokens_details/ttl_12h_tokens',
            ],
            'cache_write_12h': ['input_tokens_details/cache_write_tokens_details/ttl_12h_tokens'],
            'reasoning': ['output_tokens_details/reasoning_tokens|output_token_details/reasoning_tokens'],
            'input_audio': [
                'input_tokens_details/audio_tokens|input_token_details/audio_tokens',
                '-input_token_details/cached_tokens_details/audio_tokens',
            ],
            'input_image': [
                'input_tokens_details/image_tokens|input_token_details/image_tokens',
                '-input_token_details/cached_tokens_details/image_tokens',
            ],
            'output_audio': ['output_tokens_details/audio_tokens|output_token_details/audio_tokens'],
            'output_image': ['output_tokens_details/image_tokens'],
        },
    } -%}
    {%- set rules = {'openai_chat': openai_chat, 'openai_responses': openai_responses} -%}
    {%- do rules.update({
        'openai_embeddings': {'input': ['prompt_tokens|total_tokens'], 'total': ['total_tokens'], 'kinds': {}},
    }) -%}
    {#-
        Cache reads and writes lie outside input_tokens; thinking is inside output_tokens. A compaction is work of the
        same model that is billed but is in no count outside `iterations`; the work of another model is a call of its
        own. The iterations are the only total there is.
    -#}
    {%- do rules.update({
        'anthropic_messages': {
            'input': [
                'input_tokens', 'cache_read_input_tokens?', 'cache_creation_input_tokens?',
                'iterations[type=compaction].input_tokens?', 'iterations[type=compaction].cache_read_input_tokens?',
                'iterations[type=compaction].cache_creation_input_tokens?',
            ],
            'output': ['output_tokens', 'iterations[type=compaction].output_tokens?'],
            'total': [
                'iterations[type=message,compaction].input_tokens',
                'iterations[type=message,compaction].cache_read_input_tokens?',
                'iterations[type=message,compaction].cache_creation_input_tokens?',
                'iterations[type=message,compaction].output_tokens',
            ],
            'kinds': {
                'cache_read': ['cache_read_input_tokens', 'iterations[type=compaction].cache_read_input_tokens'],
                'cache_write_5m': [
                    'cache_creation_input_tokens', 'iterations[type=compaction].cache_creation_input_tokens',
                    '-cache_creation/ephemeral_1h_input_tokens',
                    '-iterations[type=compaction].cache_creation/ephemeral_1h_input_tokens',
                ],
                'cache_write_1h': [
                    'cache_creation/ephemeral_1h_input_tokens',
                    'iterations[type=compaction].cache_creation/ephemeral_1h_input_tokens',
                ],
                'reasoning': ['output_tokens_details/thinking_tokens'],
                'web_search': ['server_tool_use/web_search_requests'],
            },
        },
    }) -%}
    {#- Cache reads and writes lie outside inputTokens, and inside totalTokens. -#}
    {%- do rules.update({
        'bedrock_converse': {
            'input': ['inputTokens', 'cacheReadInputTokens?', 'cacheWriteInputTokens?'],
            'output': ['outputTokens'],
            'total': ['totalTokens'],
            'kinds': {
                'cache_read': ['cacheReadInputTokens'],
                'cache_write_5m': ['cacheWriteInputTokens', '-cacheDetails[ttl=1h].inputTokens'],
                'cache_write_1h': ['cacheDetails[ttl=1h].inputTokens'],
            },
        },
    }) -%}
    {#- Amazon's and Meta's own bodies, and the counts that Bedrock puts at the end of a stream. -#}
    {%- do rules.update({
        'bedrock_invoke': {
            'input': [
                'inputTokens|inputTextTokenCount|prompt_token_count|amazon-bedrock-invocationMetrics/inputTokenCount',
                'cacheReadInputTokenCount|amazon-bedrock-invocationMetrics/cacheReadInputTokenCount?',
                'cacheWriteInputTokenCount|amazon-bedrock-invocationMetrics/cacheWriteInputTokenCount?',
            ],
            'output': [
                'outputTokens|generation_token_count|amazon-bedrock-invocationMetrics/outputTokenCount|results[*].tokenCount',
            ],
            'total': ['totalTokens'],
            'kinds': {
                'cache_read': ['cacheReadInputTokenCount|amazon-bedrock-invocationMetrics/cacheReadInputTokenCount'],
                'cache_write_5m': [
                    'cacheWriteInputTokenCount|amazon-bedrock-invocationMetrics/cacheWriteInputTokenCount',
                ],
            },
        },
    }) -%}
    {#- The log's counts exclude the cache; only the body within it splits writes by their time to live. -#}
    {%- do rules.update({
        'bedrock_invocation_log': {
            'input': ['input/inputTokenCount', 'input/cacheReadInputTokenCount?', 'input/cacheWriteInputTokenCount?'],
            'output': ['output/outputTokenCount'],
            'kinds': {
                'cache_read': ['input/cacheReadInputTokenCount'],
                'cache_write_5m': ['input/cacheWriteInputTokenCount', '-cache_creation/ephemeral_1h_input_tokens'],
                'cache_write_1h': ['cache_creation/ephemeral_1h_input_tokens'],
                'reasoning': ['output_tokens_details/thinking_tokens'],
                'web_search': ['server_tool_use/web_search_requests'],
            },
        },
    }) -%}
    {#-
        Thoughts lie outside candidatesTokenCount and tool results outside promptTokenCount; what came from a cache is
        inside promptTokenCount, and inside its details by modality. Cached video and documents are plain cache reads:
        they have the price of cached text. A modality is a name, or its number in the protocol.
    -#}
    {%- do rules.update({
        'gemini': {
            'input': ['promptTokenCount', 'toolUsePromptTokenCount?'],
            'output': ['candidatesTokenCount?', 'thoughtsTokenCount?'],
            'total': ['totalTokenCount'],
            'kinds': {
                'cache_read': [
                    'cachedContentTokenCount', '-cacheTokensDetails[modality=AUDIO,4].tokenCount',
                    '-cacheTokensDetails[modality=IMAGE,2].tokenCount',
                ],
                'cache_read_audio': ['cacheTokensDetails[modality=AUDIO,4].tokenCount'],
                'cache_read_image': ['cacheTokensDetails[modality=IMAGE,2].tokenCount'],
                'reasoning': ['thoughtsTokenCount'],
                'input_audio': [
                    'promptTokensDetails[modality=AUDIO,4].tokenCount|promptTokenDetails[modality=AUDIO,4].tokenCount',
                    'toolUsePromptTokensDetails[modality=AUDIO,4].tokenCount',
                    '-cacheTokensDetails[modality=AUDIO,4].tokenCount',
                ],
                'input_image': [
                    'promptTokensDetails[modality=IMAGE,2].tokenCount|promptTokenDetails[modality=IMAGE,2].tokenCount',
                    'toolUsePromptTokensDetails[modality=IMAGE,2].tokenCount',
                    '-cacheTokensDetails[modality=IMAGE,2].tokenCount',
                ],
                'input_video': [
                    'promptTokensDetails[modality=VIDEO,3].tokenCount|promptTokenDetails[modality=VIDEO,3].tokenCount',
                    'toolUsePromptTokensDetails[modality=VIDEO,3].tokenCount',
                    '-cacheTokensDetails[modality=VIDEO,3].tokenCount',
                ],
                'output_audio': ['candidatesTokensDetails[modality=AUDIO,4].tokenCount'],
                'output_image': ['candidatesTokensDetails[modality=IMAGE,2].tokenCount'],
                'output_video': ['candidatesTokensDetails[modality=VIDEO,3].tokenCount'],
            },
        },
    }) -%}
    {#- As OpenAI; video is inside prompt_tokens too, and searches are counted. -#}
    {%- do rules.update({
        'openrouter': dict(openai_chat, kinds=dict(
            openai_chat['kinds'],
            input_video=['prompt_tokens_details/video_tokens'],
            web_search=['server_tool_use_details/web_search_requests'],
        )),
        'openrouter_responses': dict(openai_responses, kinds=dict(
            openai_responses['kinds'],
            web_search=['server_tool_use_details/web_search_requests'],
        )),
    }) -%}
    {#- Reasoning lies outside completion_tokens and inside total_tokens; a search is billed by the source it used. -#}
    {%- do rules.update({
        'xai': dict(
            openai_chat,
            output=['completion_tokens', 'completion_tokens_details/reasoning_tokens?'],
            kinds=dict(openai_chat['kinds'], web_search=['num_sources_used']),
        ),
        'mistral': dict(openai_chat, kinds=dict(
            openai_chat['kinds'],
            cache_read=['prompt_tokens_details/cached_tokens|num_cached_tokens'],
            input_second=['prompt_audio_seconds'],
        )),
    }) -%}
    {#- A compound system states its sum; the breakdown by model repeats it. -#}
    {%- do rules.update({
        'groq': openai_chat,
    }) -%}
    {#- Hits and misses add up to prompt_tokens. -#}
    {%- do rules.update({
        'deepseek': dict(openai_chat, kinds=dict(
            openai_chat['kinds'],
            cache_read=['prompt_cache_hit_tokens|prompt_tokens_details/cached_tokens'],
        )),
    }) -%}
    {#- Billed units leave out the vendor's own preamble; `tokens` and `cached_tokens` have it and are not billed. -#}
    {%- do rules.update({
        'cohere': {
            'input': ['billed_units/input_tokens'],
            'output': ['billed_units/output_tokens'],
            'kinds': {},
        },
        'cohere_embed': {
            'input': ['billed_units/input_tokens?', 'billed_units/image_tokens?'],
            'kinds': {'input_image': ['billed_units/image_tokens']},
        },
    }) -%}
    {#- A reranking is billed by searches; it meters no tokens. -#}
    {%- do rules.update({
        'cohere_rerank': {
            'input': ['billed_units/search_units', '-billed_units/search_units'],
            'kinds': {'rerank_search': ['billed_units/search_units']},
        },
        'voyage': {'input': ['total_tokens'], 'kinds': {'input_image': ['image_tokens']}},
    }) -%}
    {#- A prompt that was kept from the last call has no prompt_eval_count: its tokens are unknown, not zero. -#}
    {%- do rules.update({
        'ollama': {'input': ['prompt_eval_count'], 'output': ['eval_count'], 'kinds': {}},
    }) -%}
    {#- OpenTelemetry, current names before deprecated ones: all input is inside input_tokens. -#}
    {%- do rules.update({
        'otel': {
            'input': ['gen_ai.usage.input_tokens|gen_ai.usage.prompt_tokens'],
            'output': ['gen_ai.usage.output_tokens|gen_ai.usage.completion_tokens'],
            'kinds': {
                'cache_read': [
                    'gen_ai.usage.cache_read.input_tokens|gen_ai.usage.cache_read_input_tokens|gen_ai.usage.cache_read_tokens',
                ],
                'cache_write_5m': [
                    'gen_ai.usage.cache_creation.input_tokens|gen_ai.usage.cache_creation_input_tokens'
                    ~ '|gen_ai.usage.cache_write_tokens',
                ],
                'reasoning': ['gen_ai.usage.reasoning.output_tokens'],
                'input_audio': ['gen_ai.usage.audio.input_tokens'],
                'input_image': ['gen_ai.usage.image.input_tokens'],
                'input_video': ['gen_ai.usage.video.input_tokens'],
                'output_audio': ['gen_ai.usage.audio.output_tokens'],
            },
        },
    }) -%}
    {#- Details are parts; an emitter that leaves the cache out of the prompt contradicts its own total. -#}
    {%- do rules.update({
        'openinference': {
            'input': ['llm.token_count.prompt'],
            'output': ['llm.token_count.completion'],
            'total': ['llm.token_count.total'],
            'kinds': {
                'cache_read': [
                    'llm.token_count.prompt_details.cache_read|llm.token_count.prompt_details.cache_input',
                ],
                'cache_write_5m': ['llm.token_count.prompt_details.cache_write'],
                'reasoning': ['llm.token_count.completion_details.reasoning'],
                'input_audio': ['llm.token_count.prompt_details.audio'],
                'output_audio': ['llm.token_count.completion_details.audio'],
            },
        },
    }) -%}
    {#- Brings every provider's prompt_tokens to the inclusive form. -#}
    {%- do rules.update({
        'litellm': dict(openai_chat, kinds=dict(
            openai_chat['kinds'],
            cache_read=['prompt_tokens_details/cached_tokens|cache_read_input_tokens'],
            cache_write_5m=[
                'prompt_tokens_details/cache_creation_tokens|cache_creation_input_tokens',
                '-prompt_tokens_details/cache_creation_token_details/ephemeral_1h_input_tokens',
            ],
            cache_write_1h=['prompt_tokens_details/cache_creation_token_details/ephemeral_1h_input_tokens'],
            cache_write_12h=[],
            web_search=['prompt_tokens_details/web_search_requests|server_tool_use/web_search_requests'],
        )),
    }) -%}
    {#- Every key of usageDetails is a kind of its own beside `input` and `output`; `total` is their sum. -#}
    {%- do rules.update({
        'langfuse': {
            'input': [
                'input', 'input_cached_tokens|cache_read_input_tokens|input_cache_read?',
                'cache_creation_input_tokens|input_cache_creation?', 'input_cache_creation_5m?', 'input_cache_creation_1h?',
                'input_audio_tokens|input_audio?', 'input_image_tokens|input_image?', 'input_video_tokens|input_video?',
            ],
            'output': [
                'output', 'output_reasoning_tokens|output_reasoning?', 'output_audio_tokens|output_audio?',
                'output_image_tokens|output_image?',
            ],
            'total': ['total'],
            'kinds': {
                'cache_read': ['input_cached_tokens|cache_read_input_tokens|input_cache_read'],
                'cache_write_5m': ['cache_creation_input_tokens|input_cache_creation', 'input_cache_creation_5m'],
                'cache_write_1h': ['input_cache_creation_1h'],
                'reasoning': ['output_reasoning_tokens|output_reasoning'],
                'input_audio': ['input_audio_tokens|input_audio'],
                'input_image': ['input_image_tokens|input_image'],
                'input_video': ['input_video_tokens|input_video'],
                'output_audio': ['output_audio_tokens|output_audio'],
                'output_image': ['output_image_tokens|output_image'],
            },
        },
    }) -%}
    {{ return(rules) }}
{%- endmacro %}
