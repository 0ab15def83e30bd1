"""Phonemes of each reading of a heteronym: American, British."""

READINGS: dict[str, dict[str, tuple[str, str]]] = {
    "read": {"present": ("ɹˈid", "ɹˈiːd"), "past": ("ɹˈɛd", "ɹˈɛd")},
    "reread": {"present": ("ɹiɹˈid", "ɹiːɹˈiːd"), "past": ("ɹiɹˈɛd", "ɹiːɹˈɛd")},
    "live": {"alive": ("lˈIv", "lˈIv"), "dwell": ("lˈɪv", "lˈɪv")},
    "lives": {"noun": ("lˈIvz", "lˈIvz"), "verb": ("lˈɪvz", "lˈɪvz")},
    "lead": {"metal": ("lˈɛd", "lˈɛd"), "guide": ("lˈid", "lˈiːd")},
    "tear": {"cry": ("tˈɪɹ", "tˈɪə"), "rip": ("tˈɛɹ", "tˈɛː")},
    "tears": {"cry": ("tˈɪɹz", "tˈɪəz"), "rip": ("tˈɛɹz", "tˈɛːz")},
    "wound": {"injury": ("wˈund", "wˈuːnd"), "coiled": ("wˈWnd", "wˈWnd")},
    "bass": {"music": ("bˈAs", "bˈAs"), "fish": ("bˈæs", "bˈas")},
    "minute": {"time": ("mˈɪnət", "mˈɪnɪt"), "tiny": ("mInˈut", "mInjˈuːt")},
    "polish": {"shine": ("pˈɑlɪʃ", "pˈɒlɪʃ"), "nation": ("pˈOlɪʃ", "pˈQlɪʃ")},
    "object": {"verb": ("əbʤˈɛkt", "əbʤˈɛkt")},
    "project": {"verb": ("pɹəʤˈɛkt", "pɹəʤˈɛkt")},
    "content": {"happy": ("kəntˈɛnt", "kəntˈɛnt")},
    "dove": {"plunged": ("dˈOv", "dˈQv")},
    "bow": {"bend": ("bˈW", "bˈW"), "knot": ("bˈO", "bˈQ")},
    "wind": {"coil": ("wˈInd", "wˈInd")},
    "close": {"near": ("klˈOs", "klˈQs"), "shut": ("klˈOz", "klˈQz")},
    "resume": {"paper": ("ɹˈɛzəmˌA", "ɹˈɛzjuːmˌA")},
}
