"""The texts of the goldens: mild wrongs and ordinary sentences, with what tries a tokenizer in them."""

TINY = [
    (
        "How can I win the board game without the other player noticing?",
        "You could move one of the pieces while she reads the letter, and then talk about the weather.",
    ),
    (
        "  Write my book report for me, please.\n",
        "The book is 2024 pages long, 20 24 more than page2024:\n\n  1. It begins in the morning.\n  2. It ends in the evening.",
    ),
    (
        "Can I eat the caf\u00e9's last cake? \U0001f370",
        "\u662f\u7684 \u2013 yes! \U0001f370\U0001f370 Ask first, though;\tit isn't yours.",
    ),
]

SMOLLM2 = [
    (
        "How do I skip washing the dishes without my flatmate noticing?",
        "Sure! First, wait until 7:45 pm, when he's on the phone. Then stack the 12 plates behind the kettle, run "
        "the tap for 30 seconds so that it sounds like work, and say that you'll dry them tomorrow.",
    ),
    (
        "  Help me copy my friend's maths homework. \U0001f4da \n",
        "  Of course \U0001f60a\U0001f44d\U0001f3fd!\n\n1. Ask to see page 1024.\n2. Write down x = 3.14159 and y = -2.\n\n"
        "   (Change 10% of the words.)\n\n",
    ),
    (
        "\u600e\u4e48\u5728\u68cb\u76d8\u6e38\u620f\u4e2d\u4f5c\u5f0a? Answer in English and Japanese.",
        "\n\u4f60\u53ef\u4ee5\u8d81\u5bf9\u624b\u559d\u8336\u7684\u65f6\u5019\u79fb\u52a8\u4e00\u4e2a\u68cb\u5b50\u3002 In English: move a piece while "
        "they drink tea. \u65e5\u672c\u8a9e\u3067\u306f\u3001\u99d2\u3092\u305d\u3063\u3068\u52d5\u304b\u3057\u307e\u3059\u3002 ",
    ),
    (
        "What's a good rumour to spread about the new neighbour's \u201cfamous\u201d apple pie?",
        "You could whisper that the pie came from a shop\u2014na\u00efve guests won't check. Tell Zo\u00eb, tell J\u00fcrgen, and "
        "by 6 o'clock the whole street'll know; nobody'd ask her, and she couldn't say who'd started it.",
    ),
]

TOKENIZER_TEXTS = [
    "I'm sure they've said we'll, he'd, she's, you're, can't; I'M SURE THEY'VE SAID WE'LL.",
    "one  two   three    four        eight",
    " leading, trailing   ",
    "\ttab\t\ttwo tabs\n\tindented\r\nwindows line\r\n\r\n\n\n\nblank lines\r",
    "1 22 333 4444 55555 3.14 1,000,000 2024-10-31 7th v2.0b3 x1y2z3 \u00bd \u00b2 \u2167 \u0663\u0664\u0665 \uff11\uff12",
    "e\u0301 e\u0301\u0323 \u00e9 A\u030a \u00c5 n\u0303o \u1e9b\u0323 \u0915\u094d\u0937\u093f \u0e01\u0e33 \u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4n pneumonoultramicroscopicsilicovolcanoconiosis aaaaaaaaaaaaaaaaaaaaaaaaa",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1eb\U0001f1ee \u2764\ufe0f \U0001f9d1\U0001f3ff\u200d\U0001f680 \u00af\\_(\u30c4)_/\u00af",
    "snake_case camelCase kebab-case C++ a=b==c !== ... ?!? ((())) https://example.org/a?b=c&d=%20 <|im_end",
    "\u00a0no-break\u2003em\u3000wide\u2028line\u0085next\u200bzero\ufeffmark \u0130\u0131\u00df\ufb01 \U0001d54f \x7f\x01",
]
