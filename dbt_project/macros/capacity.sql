{#- Did the provider turn the call away for want of throughput? Each client library has its own word for a 429. -#}
{% macro is_throttled(error_type) -%}
    coalesce({{ regexp_found(
        'lower(' ~ error_type ~ ')', "'(^|[^0-9])429($|[^0-9])|rate.?limit|throttl|too.?many.?requests|resource.?exhausted|quota'"
    ) }}, false)
{%- endmacro %}
