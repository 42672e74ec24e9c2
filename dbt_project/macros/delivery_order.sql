{#-
    Which of several deliveries of one thing is the latest, and counts: the one from the input whose name sorts last,
    there the last record. A dot sorts before all else, so that `2026-03-v2.csv` comes after `2026-03.csv`. When a
    delivery landed is left out: that depends on when it was pulled, and a rebuild from nothing pulls all at once.
-#}
{% macro delivery_order(is_record=true) -%}
    replace(input_uri, '.', ' ') desc, input_uri desc{{ ', record_index desc' if is_record }}
{%- endmacro %}
