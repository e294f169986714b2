"""Letters that look alike: those of other alphabets, and digits, that pass for a letter of the Latin one.

Taken from the data of Unicode Technical Standard #39, "Unicode Security Mechanisms" (https://www.unicode.org/reports/tr39/,
https://www.unicode.org/Public/security/latest/confusables.txt): single characters of the Cyrillic, Greek, Armenian, Cherokee
and extended Latin alphabets whose prototype is one of A to Z or a to z. Two differ from it on purpose: a capital I stays one
(its prototype is l) unless case is compared, and the small к and κ go with their capitals.
"""

_LETTERS = {
    "a": "аαɑ", "b": "ЬьƄ", "c": "сϲᴄ", "d": "ԁ", "e": "еҽ", "f": "ք", "g": "ɡցƍ", "h": "һհ", "i": "іιıɩ", "j": "јϳ",
    "k": "кκ", "l": "ӏӀǀ1|", "n": "ոռ", "o": "оοσօᴏ", "p": "рρϱ", "q": "ԛգզ", "r": "гᴦ", "s": "ѕƽꜱ", "u": "υսʋᴜ",
    "v": "νѵᴠ", "w": "ԝաɯѡᴡ", "x": "х×", "y": "уγүɣʏ", "z": "ᴢ",
    "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СϹᏟ", "D": "Ꭰ", "E": "ЕΕᎬ", "F": "Ϝ", "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІΙ", "J": "ЈͿᎫ",
    "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜϺᎷ", "N": "Ν", "O": "ОΟՕ0", "P": "РΡᏢ", "Q": "Ԛ", "R": "ᎡᏒ", "S": "ЅՏᏚ", "T": "ТΤᎢ",
    "U": "Ս", "V": "ѴᏙ", "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ",
}  # fmt: skip
LOOK_ALIKES = {look: letter for letter, looks in _LETTERS.items() for look in looks}
"""What each is taken for. Where the standard has a capital alone, its small letter is not one by itself."""

LEET = {
    look: letter
    for letter, looks in {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!|lL", "o": "0", "s": "5$", "t": "7"}.items()
    for look in looks
}
"""Digits and signs written for letters. 1 stands for i and for l: these are one letter here."""
