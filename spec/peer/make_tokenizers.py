"""Fixtures for spec/lua/tokenizer_spec.lua, made by Hugging Face's tokenizers 0.23.3 (Python 3.11).

    python3 -m venv build/peer && build/peer/bin/pip install tokenizers==0.23.3
    build/peer/bin/python spec/peer/make_tokenizers.py

Writes to spec/fixtures/tokenizers:
    lines.json             LINES lines of awkward text, made from seed 4
    NAME.json              small tokenizers, trained on the first TRAINED of them and on a few plain sentences
    NAME.expected.json     what the library makes of the lines:
        ids, spans         of the first FULL lines; spans as first and last byte, from 1, both inclusive
        decoded, bare      the text of these ids, without and with skip_special_tokens
        lines              of each line two characters for a hash of its ids, and two for a hash of all the rest
        hash               a hash of everything
    unicode.expected.json  hashes of what the library knows of every code point (see unicode_expected)
"""
import json
import os
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LINES, TRAINED, FULL, SEED = 10000, 3000, 200, 4
# All of Unicode but planes without characters and most of the planes for private use.
CODE_POINTS = [*range(1, 0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xF1000)]
FOLDER = os.path.join(os.path.dirname(__file__), "..", "fixtures", "tokenizers")
SIMPLE_STORIES = os.path.join(os.path.dirname(__file__), "..", "fixtures", "simplestories-4096.json")

# ---- awkward text --------------------------------------------------------------------------------

PLAIN = """The quick brown fox jumps over the lazy dog. Once upon a time there was a little girl named Lily; she didn't
like the rain, but they've said it'll be sunny. I'm sure we're going to the park, he'd say. "What's that?" asked Tom.
One day, Ben and Mia found 12 old coins (worth 345.50 each) under a big tree. They were so happy! Do not be afraid."""

WORDS = PLAIN.split() + """don't can't it's we've they're I'll she'd DON'T IT'S won't 'tis rock'n'roll x'Sam e-mail
naïve café résumé über Straße STRASSE ŒUVRE İstanbul ISTANBUL ıyı ΣΊΣΥΦΟΣ σίσυφος Ǆungla ǅ ẞ ﬁn ﬂ ﬀ ŉ ſo it'ſ
Ångström Å Ａｂｃ ｱｲｳ ㍿ ㋿ ² ½ x² H₂O №5 ™ ① ⅷ Ⅻ ٣٤٥ १२३ ๑๒๓ 〇一二三 𝟙𝟚 ᠐ ༣ ௧௰ 12 3456 7890123 3.14 1,000 0x1F
привет мир здравствуйте Ελλάδα עברית שָׁלוֹם العربية مَرْحَبًا ٱلسَّلَامُ فارسی हिन्दी नमस्ते क्षि বাংলা தமிழ் తెలుగు
ไทย สวัสดี ภาษาไทย ລາວ မြန်မာ ខ្មែរ 한국어 각 한국 中文 漢字 日本語 ひらがな カタカナ が ガ 𠀀𪛖 豈 更 한글 ᄒ
👍 👍🏽 👩‍👩‍👧‍👦 👨🏿‍🚀 🏳️‍🌈 🇩🇪 🇫🇷🇯🇵 ☺️ ❤️‍🔥 1️⃣ 🫠 🫨 🪿 ☎ ♥ ✈️ © ® • … — – - ‐ ― « » „ “ ” ‘ ’ ‚ ‹ › ` ´ ¨ ^ ~
!!! ??? ?! ... ; : , . ' " '' `` ( ) [ ] { } < > / \\ | @ # $ % & * _ + = ¡ ¿ § ¶ † ‡ ‰ € £ ¥ ₹ ₿ ¢ ¬ ± × ÷ ≠ ≤ ∞ ∑ √ →
。 、 「」 『』 ！ ？ ～ ・ ؟ ، ۔ । ॥ ፡ ። ᙮ ‿ ⁀ _ ＿ ⸘ ⹃ 𑇉 𐺭 __init__ foo_bar CamelCase snake_case http://a.b/c?d=e&f=g
a@b.cd #tag @user C++ C# .NET [UNK] [EOS] [MASK] [CLS] [SEP] <unk> <s> </s> <mask> <|endoftext|> <|begin_of_text|>
<|eot_id|> <0x41> ▁ ▁▁a ##ing ## Ġ Ġa Ċ Q&A""".split()

SPACES = [" ", " ", " ", " ", "  ", "   ", "      ", "\t", "\t\t", "\n", "\n\n", "\r\n", " \n ", "\r", "\u00a0", "\u1680",
          "\u2002\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\x0b", "\x0c", "\x85",
          "\u180e", "\u200b", "\ufeff", ""]
ODD = ["\u200b", "\u200c", "\u200d", "\u200e", "\u202e", "\u2060", "\u00ad", "\ufeff", "\ufffd", "\ufffe", "\x00", "\x01",
       "\x07", "\x08", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x9f", "\ue000", "\uf8ff", "\U000f0000", "\U0010ffff",
       "\u0378", "\U000e0001", "\U000e0041", "\ufe0f", "\U0001f1e6", "\u0300", "\u0301", "\u0327", "\u0308", "\u0345",
       "\u20dd", "\u0483", "\u05b0", "\u064b", "\u093c", "\u0e31", "\u0f71", "\u0f73", "\u0f81", "\u0344", "\u1ab0",
       "\u1ac1", "\u1dfa", "\u302a", "\u3099", "\U0001d165", "\U00011930", "\U00011935", "\U0001e030", "\u0898",
       "\U00010d69", "\u0130", "\u1e9e", "\u017f", "\u212a", "\u212b", "\u2126", "\u03a3", "\u01c5", "\uab70", "\u13a0",
       "\u1c90", "\ua7cb", "\ua7dc", "\U00010d50", "\U00016ea0", "\u0587", "\ufb03", "\ufdfa", "\u3371", "\u33ff",
       "\uac00", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u11a7", "\u1b4e", "\U0001cc00", "\U0001ccf0", "\U00031350",
       "\U0002ebf0", "\u0c04", "\u166d", "\U000111c9", "\u1cf2", "\u1734", "\u0890", "\u08e2", "\U00013430", "\u2e43"]


def random_character(rng):
    """One of any block: mostly the Basic Multilingual Plane, also unassigned ones."""
    while True:
        c = rng.choice([rng.randrange(1, 0x300), rng.randrange(0x300, 0x3000), rng.randrange(0x3000, 0x10000),
                        rng.randrange(0x10000, 0x20000), rng.randrange(0x1f000, 0x1fb00), rng.randrange(0x110000)])
        if c != 0 and not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def awkward_line(rng):
    kind, parts = rng.randrange(20), []
    for _ in range(rng.randrange(1, 7)):
        if kind == 0 or rng.random() < 0.08:
            parts.append(random_character(rng))
        elif rng.random() < 0.12:
            parts.append(rng.choice(ODD))
        else:
            word = rng.choice(WORDS)
            case = rng.randrange(12)
            parts.append(word.upper() if case == 0 else word.lower() if case == 1 else word)
        if kind > 1 and rng.random() < 0.75:
            parts.append(rng.choice(SPACES) if rng.random() < 0.4 else " ")
    if kind == 2:
        parts.append("".join(rng.choice("abcXYZé漢\u0301🙂0") for _ in range(rng.randrange(20, 130))))
    if kind == 3:
        parts.append(rng.choice(SPACES) * rng.randrange(1, 20))
    return "".join(parts)


def make_lines():
    rng = random.Random(SEED)
    lines = ["", " ", "  ", "\n", "a", "\u0301", "é", "e\u0301", " a ", "[EOS]"] + PLAIN.split("\n")
    while len(lines) < LINES:
        lines.append(awkward_line(rng))
    return lines


# ---- tokenizers ----------------------------------------------------------------------------------

GPT2_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)"
          r"|\s+")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def byte_level_bpe(text, special, size=700, **settings):
    tokenizer = Tokenizer(models.BPE(**settings))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=GPT2_ALPHABET, special_tokens=special, show_progress=False))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2(text):
    tokenizer = byte_level_bpe(text, [AddedToken("<|endoftext|>", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def gpt_neo(text):
    tokenizer = byte_level_bpe(text, ["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    return tokenizer


def roberta(text):
    tokenizer = byte_level_bpe(text, ["<s>", "</s>", "<unk>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=False, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True)
    return tokenizer


def llama3(text):
    tokenizer = byte_level_bpe(text, [], ignore_merges=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|reserved|>"])
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|> $B:1",
                                      [("<|begin_of_text|>", bos)])])
    return tokenizer


def llama2(text):
    """As converted from sentencepiece: the whole text is one word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=600, limit_alphabet=200, special_tokens=["<unk>", "<s>", "</s>"], max_token_length=8,
        show_progress=False))
    whole = json.loads(tokenizer.to_str())
    vocabulary = whole["model"]["vocab"]
    for byte in range(256):
        if byte % 16 != 3: # some are missing: their characters are unknown
            vocabulary["<0x%02X>" % byte] = len(vocabulary)
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B:1", [("<s>", 1)])
    return tokenizer


def metaspace(text):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", True)
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=700, limit_alphabet=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    tokenizer.add_tokens([AddedToken("ﬁn", normalized=True), AddedToken("dog", single_word=True),
                          AddedToken("Lily", rstrip=True, lstrip=True)])
    tokenizer.decoder = decoders.Metaspace("▁", "first", True)
    return tokenizer


def openai_gpt(text):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="~"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=900, limit_alphabet=150, special_tokens=["<unk>"], end_of_word_suffix="</w>",
        continuing_subword_prefix="~", show_progress=False))
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return tokenizer


def bert(text):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(text, trainers.WordPieceTrainer(
        vocab_size=900, limit_alphabet=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False))
    tokenizer.add_tokens(["CamelCase", AddedToken("lazy", single_word=True, normalized=False)])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece("##", cleanup=True)
    return tokenizer


def words(text):
    """What no published tokenizer has together: the rest of the parts, on whole words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Lowercase(), normalizers.NFC(),
        normalizers.Replace(Regex(r"[\u2018\u2019`]|'(?=\w)"), "''")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.CharDelimiterSplit("_"), pre_tokenizers.Digits(False),
        pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Split(Regex("[aeiou]{2}"), "merged_with_next"),
        pre_tokenizers.Split("th", "contiguous"), pre_tokenizers.Split(Regex(r"[^\p{Lu}\d]|\w{3}"), "isolated", True)])
    tokenizer.train_from_iterator(text, trainers.WordLevelTrainer(
        vocab_size=800, special_tokens=["[UNK]", "[EOS]"], show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing("$A [EOS]", "$A $B [EOS]", [("[EOS]", 1)])
    return tokenizer


def o200k(text):
    tokenizer = byte_level_bpe(text, ["<|endoftext|>"], size=400)
    tokenizer.normalizer = normalizers.NFD()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(O200K), "isolated"), pre_tokenizers.Split(Regex(CL100K), "removed", True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


MAKERS = [gpt2, gpt_neo, roberta, llama3, llama2, metaspace, openai_gpt, bert, words, o200k]

# ---- what is expected ----------------------------------------------------------------------------

MASK = (1 << 64) - 1
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"


def hashed(numbers, h=0xcbf29ce484222325):
    """Fowler, Noll and Vo's hash (1a), of numbers instead of bytes."""
    for n in numbers:
        h = ((h ^ n) * 0x100000001b3) & MASK
    return h


def two_characters(h):
    h ^= h >> 32
    h ^= h >> 12
    return DIGITS[h & 63] + DIGITS[h >> 6 & 63]


def byte_spans(line, offsets):
    starts = [0]
    for character in line:
        starts.append(starts[-1] + len(character.encode()))
    return [number for first, last in offsets for number in (starts[first] + 1, starts[last])]


def expected(tokenizer, lines):
    out = {"ids": [], "spans": [], "decoded": [], "bare": []}
    marks, total = [], hashed([])
    for line in lines:
        encoding = tokenizer.encode(line)
        spans = byte_spans(line, encoding.offsets)
        decoded, bare = (tokenizer.decode(encoding.ids, skip_special_tokens=skip) for skip in (False, True))
        first = hashed(encoding.ids)
        rest = hashed(bare.encode(), hashed(decoded.encode(), hashed(spans)))
        marks.append(two_characters(first) + two_characters(rest))
        total = hashed([first, rest], total)
        if len(marks) <= FULL:
            for key, value in (("ids", encoding.ids), ("spans", spans), ("decoded", decoded), ("bare", bare)):
                out[key].append(value)
    out["lines"], out["hash"] = "".join(marks), "%016x" % total
    return out


CATEGORIES = "L Lu Ll Lt Lm Lo M Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp Cc Cf"


def members(pre_tokenizer, before, after):
    """The code points that make a word of their own between these two texts."""
    text = "".join(before + chr(c) + after for c in CODE_POINTS)
    starts = {span[0] for _, span in pre_tokenizer.pre_tokenize_str(text)}
    step = len(before) + 1 + len(after)
    return [c for i, c in enumerate(CODE_POINTS) if i * step + len(before) in starts]


def unicode_expected():
    """For classes: a hash of the code points in them. For mappings: a hash of the bytes that the code points become,
    each on a line; for NFD_after, each after U+0345, which shows its combining class."""
    class_of = {
        "number": (pre_tokenizers.Digits(True), "a", "a"),
        "punctuation": (pre_tokenizers.Punctuation("isolated"), "a", "a"),
    }
    out = {name: hashed(c for c in members(*arguments) if c != 10) for name, arguments in class_of.items()}
    for name in CATEGORIES.split():
        found = members(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "isolated"), "\u0378", "\u0378")
        out[name] = hashed(c for c in found if c != 10)
    outside = set(members(pre_tokenizers.WhitespaceSplit(), " ", " "))
    out["space"] = hashed(c for c in CODE_POINTS if c not in outside and c != 10)
    alone = set(members(pre_tokenizers.Whitespace(), "a", " "))
    out["word"] = hashed(c for c in CODE_POINTS if c not in alone and c in outside)
    each = "".join(chr(c) + "\n" for c in CODE_POINTS if c != 10)
    mappings = {
        "lower": normalizers.Lowercase(), "NFC": normalizers.NFC(), "NFD": normalizers.NFD(), "NFKC": normalizers.NFKC(),
        "NFKD": normalizers.NFKD(), "mark": normalizers.StripAccents(),
        "clean": normalizers.BertNormalizer(True, False, False, False),
        "chinese": normalizers.BertNormalizer(False, True, False, False),
        "accents": normalizers.BertNormalizer(False, False, True, False)}
    for name, normalizer in mappings.items():
        out[name] = hashed(normalizer.normalize_str(each).encode())
    after = "".join("\u0345" + chr(c) + "\n" for c in CODE_POINTS if c != 10)
    out["NFD_after"] = hashed(normalizers.NFD().normalize_str(after).encode())
    return {name: "%016x" % value for name, value in out.items()}


def write(name, value):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
        file.write(value)


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rows(value):
    """A file with a line for each entry, so that differences can be read."""
    return "{\n" + ",\n".join('%s:%s' % (dump(key), dump(value[key])) for key in value) + "\n}\n"


def main():
    if tokenizers.__version__ != "0.23.3":
        sys.exit("made with tokenizers 0.23.3, this is " + tokenizers.__version__)
    os.makedirs(FOLDER, exist_ok=True)
    lines = make_lines()
    write("lines.json", "[\n" + ",\n".join(dump(line) for line in lines) + "\n]\n")
    text = lines[:TRAINED] + PLAIN.split("\n") * 50
    for maker in MAKERS:
        whole = json.loads(maker(text).to_str())
        if maker is gpt2: # the older spelling of merges
            whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
        write(maker.__name__ + ".json", rows(whole))
        tokenizer = Tokenizer.from_str(json.dumps(whole))
        write(maker.__name__ + ".expected.json", rows(expected(tokenizer, lines)))
    write("unicode.expected.json", rows(unicode_expected()))
    write("simplestories.expected.json", rows(expected(Tokenizer.from_file(SIMPLE_STORIES), lines)))


if __name__ == "__main__":
    main()
