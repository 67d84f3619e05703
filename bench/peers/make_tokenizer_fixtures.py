"""Reference values for winnow's chat templates and special tokens, from transformers.

    python make_tokenizer_fixtures.py STORIES OUT      (STORIES: directory of stories260K; OUT: test/fixtures/tokenizer)

Writes OUT/
  byte-level.json   a small tokenizer.json: byte-level BPE with Qwen 2's pre-tokenizer and NFC, and the control tokens of several families
  chats.json        {templates: {name: {tokenizer, template, marked, config}}, conversations, cases: [{template, conversation, ids, mask} or
                    {…, refused}]}: ids and assistant mask (as runs [start, end) of tokens) of `apply_chat_template`. `marked` is the template
                    with generation blocks, `template` the same without; both render alike, the mask is that of `marked`.
  texts.json        {tokenizer, cases: [{config, postProcessor, ids}]}: what is put around a plain text
  stories260k/      tokenizer.json, tokenizer_config.json and a few texts of the model's reference values
The templates have the forms of public models' templates (white-space control, checks, defaults), their sentences are our own.
"""

import json
import os
import re
import shutil
import sys

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unk>",
]
# transformers tells the day it is; winnow's `strftime_now` always tells this one.
DATE = dict(date_string="26 Jul 2024")
ORDINARY = ["<think>", "</think>", "<tool_call>", "</tool_call>"]

# Generation blocks are written as [[ … ]] with their own white-space control: [[- … -]] is {%- generation -%} … {%- endgeneration -%}.
TEMPLATES = {
    "chatml": dict(
        tokenizer="byte-level",
        config=dict(eos_token="<|im_end|>", pad_token="<|endoftext|>"),
        source="""{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe useful.<|im_end|>\\n' }}{% endif %}{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\\n' }}[[{{ message['content'] + '<|im_end|>' }}]]{{ '\\n' }}{% else %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    ),
    "qwen3": dict(
        tokenizer="byte-level",
        config=dict(eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token=None),
        source="""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(asked=messages|length - 1, open=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.open and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.open = false %}
        {%- set ns.asked = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        [[- if loop.index0 > ns.asked and (loop.last or reasoning) -]]
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""".replace(
            "[[- if loop.index0 > ns.asked and (loop.last or reasoning) -]]",
            """[[-
        {%- if loop.index0 > ns.asked and (loop.last or reasoning) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- content }}
        {%- endif %}
        {{- '<|im_end|>' }}
        -]]
        {{- '\\n' }}""",
        ),
    ),
    "llama3": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"),
        source="""{% set loop_messages = messages %}{% for message in loop_messages %}{% set head = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' %}{% if loop.index0 == 0 %}{% set head = bos_token + head %}{% endif %}{{ head }}{% if message['role'] == 'assistant' %}[[{{ message['content'] | trim + '<|eot_id|>' }}]]{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    ),
    "gemma": dict(
        tokenizer="byte-level",
        config=dict(bos_token={"content": "<bos>", "special": True}, eos_token="<eos>"),
        source="""{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role here') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles have to alternate: user, assistant, user, assistant') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' }}{% if role == 'model' %}[[{{ message['content'] | trim + '<end_of_turn>' }}]]{{ '\\n' }}{% else %}{{ message['content'] | trim + '<end_of_turn>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    ),
    "mistral": dict(
        tokenizer="stories",
        config=dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"),
        source="""{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the system message, roles alternate between user and assistant') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        [[-
        {{- ' ' + message['content'] + eos_token }}
        -]]
    {%- else %}
        {{- raise_exception('Only user and assistant roles, and one system message in front') }}
    {%- endif %}
{%- endfor %}
""",
    ),
    "smollm2": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>", pad_token="<|im_end|>"),
        source="""{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
A small model, asked to help.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
'}}{% if message['role'] == 'assistant' %}[[{{ message['content'] }}{{ '<|im_end|>' }}]]{{ '
' }}{% else %}{{ message['content'] + '<|im_end|>' + '
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    ),
    "zephyr": dict(
        tokenizer="stories",
        config=dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"),
        source="""{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' }}[[{{ message['content'] + eos_token }}]]

{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
""",
    ),
    "vicuna": dict(
        tokenizer="stories",
        config=dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"),
        source="""{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'].strip() + ' ' }}{% elif message['role'] == 'user' %}{{ 'USER: ' + message['content'].strip() + ' ' }}{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT:' }}[[{{ ' ' + message['content'].strip() + eos_token }}]]{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}""",
    ),
    "lines": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<bos>", eos_token="<eos>"),
        source="""{{ bos_token }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
<start_of_turn>model:
        [[-]]
 {{- message.content -}}
<end_of_turn>
        [[/-]]
    {%- else %}

### {{ message.role | capitalize }}
{{ message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
<start_of_turn>model:
{%- endif %}""".replace("[[-]]", "[[-").replace("[[/-]]", "-]]"),
    ),
    "llama32": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"),
        source="""{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message has a place of its own. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- tools | tojson(indent=4) }}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        [[- {{- message['content'] | trim + '<|eot_id|>' }} -]]
    {%- elif not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    ),
    "nemo": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<bos>", eos_token="<eos>"),
        source="""{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- Roles alternate, tools aside. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Roles alternate, tools aside") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST]" + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST]" + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        [[- {{- message["content"] + eos_token}} -]]
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS]{"content": ' + message.content|string + "}[/TOOL_RESULTS]" }}
    {%- endif %}
{%- endfor %}
""",
    ),
    "r1": dict(
        tokenizer="byte-level",
        config=dict(bos_token="<bos>", eos_token="<eos>"),
        source="""{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_tool=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<start_of_turn>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<end_of_turn>'}}[[- {{- content + eos_token}}-]]{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'\\n' + message['content']}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<end_of_turn>'}}{% endif %}""",
    ),
}

user, assistant, system, tool = (
    (lambda role: lambda content: {"role": role, "content": content})(role)
    for role in ("user", "assistant", "system", "tool")
)
CONVERSATIONS = {
    "one exchange": [user("How many legs has a spider?"), assistant("A spider has eight legs.")],
    "system and several turns": [
        system("Answer in one word."), user("Capital of France?"), assistant("Paris"), user("And of Italy?"), assistant("Rome"),
        user("Thanks"), assistant("user"),
    ],
    "several turns": [user("2+2"), assistant("4"), user("4"), assistant("4 assistant 4"), user("model"), assistant("1")],
    "unicode": [
        user("Écris « été » 日本語で 👩‍👩‍👧 e\u0301"), assistant("re\u0301sume\u0301 — ÅÅ 𝟘 한국어 🏳️‍🌈"), user("ok?"), assistant("👍"),
    ],
    "white space": [user("  leading\n"), assistant("\n\n  two lines\n  here  \n"), user("\tend "), assistant(" x ")],
    "empty contents": [user(""), assistant("It was empty."), user("again"), assistant("")],
    "reasoning": [
        user("17*3?"), assistant("<think>\n17*3 is 51\n</think>\n\n51"), user("plus 1?"), assistant("<think>\n51+1\n</think>\n\n  52, indented"),
    ],
    "tools": [
        user("Weather in Oslo?"), assistant('<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'), tool('{"t": -3}'),
        assistant("Minus three."),
    ],
    "code": [user("Write a loop {% for %} {{ x }}"), assistant("```py\nfor i in range(3):\n    print(i)\n```\n{{ done }}")],
    "user last": [user("Say a"), assistant("a"), user("Say b")],
}


def block(source, marked):
    """[[ … ]] as generation tags, or without a trace: a tag that is true in both keeps white-space control alike."""
    start, end = ("generation", "endgeneration") if marked else ("if true", "endif")
    source = source.replace("[[-", "{%- " + start + " -%}").replace("-]]", "{%- " + end + " -%}")
    return source.replace("[[", "{% " + start + " %}").replace("]]", "{% " + end + " %}")


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in ORDINARY])
    return tokenizer


def runs(mask):
    found, start = [], None
    for i, bit in enumerate([*mask, 0]):
        if bit and start is None:
            start = i
        elif not bit and start is not None:
            found.append([start, i])
            start = None
    return found


def chats(tokenizers):
    templates, cases = {}, []
    for name, family in TEMPLATES.items():
        marked, plain = block(family["source"], True), block(family["source"], False)
        config = family["config"]
        templates[name] = dict(tokenizer=family["tokenizer"], template=plain, marked=marked, config=config)
        tokens = {key: value["content"] if isinstance(value, dict) else value for key, value in config.items()}
        peer = PreTrainedTokenizerFast(tokenizer_object=tokenizers[family["tokenizer"]], **tokens)
        for title, messages in CONVERSATIONS.items():
            case = dict(template=name, conversation=title)
            try:
                out = peer.apply_chat_template(
                    messages, chat_template=marked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **DATE
                )
            except jinja2.exceptions.TemplateError as error:
                cases.append(dict(case, refused=str(error)))
                continue
            again = peer.apply_chat_template(messages, chat_template=plain, tokenize=True, **DATE)["input_ids"]
            assert again == out["input_ids"], (name, title)
            cases.append(dict(case, ids=out["input_ids"], mask=runs(out["assistant_masks"])))
    return dict(templates=templates, conversations=CONVERSATIONS, cases=cases)


def texts(directory):
    """Ids of a text with each post-processor and configuration, loaded from files as a user's are."""
    base = json.load(open(os.path.join(directory, "tokenizer.json"), encoding="utf-8"))
    template = base["post_processor"]
    byte = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    cases = []
    work = os.path.join(directory, "work")
    for processor in (template, None, byte, {"type": "Sequence", "processors": [byte, template]}):
        for config in ({}, {"add_bos_token": True}, {"add_bos_token": False}):
            full = dict(config, tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
            os.makedirs(work, exist_ok=True)
            json.dump(dict(base, post_processor=processor), open(os.path.join(work, "tokenizer.json"), "w"))
            json.dump(full, open(os.path.join(work, "tokenizer_config.json"), "w"))
            ids = PreTrainedTokenizerFast.from_pretrained(work)("Once upon a time")["input_ids"]
            cases.append(dict(config=full, postProcessor=processor, ids=ids))
    shutil.rmtree(work)
    return dict(text="Once upon a time", cases=cases)


def main(stories, out):
    os.makedirs(os.path.join(out, "stories260k"), exist_ok=True)
    copy = os.path.join(out, "stories260k")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(stories, name), os.path.join(copy, name))
    reference = json.load(open(os.path.join(stories, "reference-nll.json"), encoding="utf-8"))
    few = [{key: text[key] for key in ("text", "ids")} for text in find_texts(reference)][:6]
    save(os.path.join(copy, "texts.json"), few)

    lines = open(os.path.join(HERE, "../../examples/math.jsonl"), encoding="utf-8").read().splitlines()[:400]
    tokenizer = byte_level([value for line in lines for value in json.loads(line).values() if isinstance(value, str)])
    text = tokenizer.to_str()
    open(os.path.join(out, "byte-level.json"), "w", encoding="utf-8").write(text)
    tokenizers = {
        "byte-level": Tokenizer.from_str(text),
        "stories": Tokenizer.from_file(os.path.join(copy, "tokenizer.json")),
    }
    save(os.path.join(out, "chats.json"), chats(tokenizers))
    save(os.path.join(out, "texts.json"), texts(copy))


def find_texts(reference):
    """The list of texts with ids in reference-nll.json, whatever it is called there."""
    if isinstance(reference, list):
        return reference
    return next(value for value in reference.values() if isinstance(value, list) and "ids" in value[0])


def save(path, value):
    text = json.dumps(value, ensure_ascii=True, indent=1)
    # Lists of numbers on one line.
    text = re.sub(r"\[[\d\s,\[\]]+\]", lambda match: re.sub(r"\s+", "", match[0]), text)
    open(path, "w", encoding="utf-8").write(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
