"""Clues for words with two readings: the words that stand around them in either reading."""

from lina.tokenizers.english.clue import (
    DETERMINERS,
    HABITS,
    MODALS,
    OBJECTS,
    PAST_TIMES,
    PERFECT,
    PRONOUNS,
    Clue,
    words,
)

_READ = (
    Clue("present", before=MODALS),
    Clue("past", before=PRONOUNS, earlier=words("have has had")),
    Clue("past", before=PERFECT | words("well widely")),
    Clue("past", before=words("already just never ever not also since recently"), earlier=PERFECT),
    Clue(
        "present",
        before=PRONOUNS,
        earlier=words("did do does will would can could should shall might must"),
    ),
    Clue("past", before=words("he she it") | words("nobody everybody everyone someone")),
    Clue("past", near=words("yesterday ago last earlier already previously")),
    Clue("present", near=HABITS - words("is are if while")),
    Clue("past", near=PAST_TIMES, not_before=words("and then") | frozenset([""])),
    Clue(
        "present",
        before=words("i you we they people who children students and or always often usually please"),
        near=HABITS,
    ),
    Clue("present", first=True),
)
_STAGE = words(
    "music show shows broadcast broadcasts concert concerts performance performances audience audiences stream "
    "streaming "
    "streams event events album albums coverage tv television wire wires ammunition ammo rounds animal animals bait "
    "bird "
    "birds chat recording recordings video videos feed feeds version versions set sets demo demos theater theatre "
    "stock "
    "births chickens fish lobster action blog update updates session sessions report reports commentary "
    "entertainment "
    "studio band bands podcast sports match game games radio webcam interview footage link captions translation tour "
    "subtitles traffic data results sound match matches debate"
)
_SEE = words(
    "see saw seen watch watched watching hear heard hearing perform performed performing play played playing sing "
    "sang "
    "singing sung broadcast stream streamed streaming record recorded aired show shown showed report reporting "
    "reported "
    "covered cover appear appeared appearing shot filmed film catch caught"
)
_LIVE = (
    Clue("alive", after=_STAGE),
    Clue(
        "alive",
        before=words(
            "go goes going went gone broadcast broadcasted streamed streaming aired airing performed "
            "performing recorded shown you're we're is are was were be been 's 're coming a"
        ),
    ),
    Clue(
        "dwell",
        before=MODALS
        | PRONOUNS
        | words("people who where still now always also never and only really families"),
    ),
    Clue("alive", earlier=_SEE, not_before=PRONOUNS | MODALS),
    Clue("alive", before=DETERMINERS - words("all both these those some")),
    Clue("alive", after=words("from"), not_before=PRONOUNS | MODALS, first=True),
    Clue(
        "dwell",
        after=words(
            "in at on with near here there alone by under across together next among for up through long"
        ),
    ),
)
_LIVES = (
    Clue(
        "noun",
        before=DETERMINERS
        | words(
            "of human past nine saved lost save whose 's many two three real people's "
            "more other daily private their own everyday ordinary risk lose"
        ),
    ),
    Clue(
        "verb",
        before=words(
            "he she it who that still now also actually never always she'd mother father brother sister"
        ),
    ),
    Clue("verb", after=words("in at on with alone here there near by under across next down up off for")),
)
_METALS = words(
    "metal metals copper zinc tin iron mercury arsenic cadmium silver gold toxic poison poisonous element elements "
    "alloy "
    "solder ore molten dense heavy pencil radioactive poisoning paint bullets x-ray atoms atom nickel steel aluminum "
    "aluminium brass bronze melts melted contain contains containing contaminated soft roof lined"
)
_LEAD = (
    Clue("metal", after=words(
        "pipe pipes paint paints poisoning pencil pencils acid shot bullet bullets roof roofs weight weights "
        "crystal glass "
        "oxide mine mines ore exposure levels content free solder sheet sheets battery batteries contamination "
        "apron balloon "
        "azide nitrate based pipework ball balls lining shielding dust type seal")),
    Clue("guide", before=MODALS | PRONOUNS | words("take took takes taking in into follow followed the's and's")),
    Clue("guide", after=words("to the us me him them her a singer role guitar time generation up by actor author "
        "times off")
         | words("over in at vocals story position lawyer")),
    Clue("metal", before=words("of as contains contain containing molten white red like with "
        "and"), near=_METALS | words("made pipe pipes")),
    Clue("metal", before=words("molten unleaded tetraethyl pure soft heavy")),
    Clue("metal", after=words("is was has melts and"), near=_METALS),
)  # fmt: skip
_EYES = words("eye eyes cheek cheeks cried crying wept weeping sad sobbed weep cry shed face joy")
_RIP = words(
    "up down apart it them this that off open out through into along him your my paper here strips pieces the a"
)
_TISSUE = words(
    "muscle fabric paper ligament knee cuff meniscus cloth jeans shirt sail tendon retina net tent seam shoulder "
    "pants"
)
_TEAR = (
    Clue(
        "cry",
        after=words("gas drop drops duct ducts stained stain rolled ran fell slid trickled film glands"),
    ),
    Clue("cry", before=words("single one shed every small each a her his my"), near=_EYES),
    Clue(
        "rip",
        before=words("a the this small big large"),
        near=words(
            "jacket shirt paper cloth pants jeans fabric dress coat sleeve ligament muscle tendon page sail tent sock"
        ),
    ),
    Clue("rip", before=MODALS | words("i you we they and or"), not_after=words("gas")),
    Clue("rip", near=_TISSUE),
    Clue("rip", after=_RIP, not_before=words("a the")),
    Clue("rip", first=True),
    Clue("cry", before=DETERMINERS | words("single")),
)
_TEARS = (
    Clue(
        "cry",
        before=words("in of with the her his my their into to bitter no happy through shed wiped many and"),
    ),
    Clue("rip", before=words("he she it who that which wind paper"), after=_RIP),
    Clue("rip", before=words("he she it who")),
    Clue("rip", near=_TISSUE),
)
_WOUND = (
    Clue(
        "coiled",
        after=words("up down around through along its round tightly back over between toward towards across")
        - words("over"),
        not_before=DETERMINERS | MODALS | words("open stab gunshot flesh head"),
    ),
    Clue(
        "injury",
        before=DETERMINERS
        | MODALS
        | words(
            "gunshot stab open bullet flesh deep head entry exit fatal mortal old fresh knife and or can words "
            "insults they'll "
            "chest leg arm small bad war surgical"
        ),
    ),
    Clue(
        "injury",
        after=OBJECTS | words("healed care dressing infection is was bled festered deeply people others"),
    ),
    Clue(
        "coiled",
        before=words(
            "he she it i we they road river path trail clock stream which that who was were had tightly is"
        ),
    ),
)
_FISH = words(
    "fish fishes fished fishing caught catch catching lake lakes river sea pond angler anglers bait boat trout cod "
    "salmon hook "
    "grilled fried fillet striped largemouth smallmouth pound cooked ate eat dinner spawn fisherman perch carp reel "
    "swim swam"
)
_BASS = (
    Clue(
        "music",
        after=words(
            "guitar guitars drum drums player players line lines clef music singer voice note notes solo amp "
            "speaker sound boost string strings part clarinet riff"
        ),
    ),
    Clue("fish", before=words("sea largemouth smallmouth striped black rock white spotted")),
    Clue("fish", near=_FISH),
    Clue("music"),
)
_TINY = words(
    "crack cracks detail details particle particles amount amounts trace traces quantity quantities difference "
    "differences "
    "change changes fraction organism organisms crystal crystals hole holes droplet droplets variation variations "
    "fragment "
    "fragments dose doses speck specks creature creatures inspection examination insect insects grain grains bubble "
    "bubbles "
    "error errors flaw flaws scratch scratches piece pieces adjustment adjustments print portion proportions "
    "portions animals "
    "plants observation scale size spot spots chance distinction shell shells scrutiny pores fibers dots writing "
    "letters"
)
_MINUTE = (
    Clue("tiny", after=_TINY),
    Clue(
        "tiny",
        before=words("very so too extremely incredibly truly impossibly quite rather and") - words("and"),
        not_after=words("ago later"),
    ),
    Clue("tiny", before=words("is are was were"), after=frozenset(["", ".", ",", "and", "but"])),
    Clue("time"),
)
_POLISH = (
    Clue("shine", capital=False),
    Clue(
        "shine",
        first=True,
        after=(DETERMINERS | OBJECTS | words("up off until with")) - words("some any no"),
    ),
    Clue("nation", capital=True, first=False),
    Clue("nation", first=True),
)
_DOVE = (
    Clue(
        "plunged",
        before=words("he she it i we they then who quickly dove and") - words("and"),
        not_after=words("is was"),
    ),
    Clue(
        "plunged",
        after=words("into in off down under deep headfirst right straight from behind through overboard for"),
        not_before=DETERMINERS | words("white turtle mourning peace rock"),
    ),
)
_BOW = (
    Clue("bend", before=MODALS | words("you they we i")),
    Clue("bend", before=words("a"), earlier=words("take took takes taking taken gave made with")),
    Clue("bend", after=words("down before out your their head of") - words("of"), not_before=DETERMINERS),
    Clue("bend", near=words("ship ships boat stern deck sailed vessel hull"), before=words("the its ship's")),
    Clue("knot", before=DETERMINERS | words("red pink hair violin") | frozenset([""])),
)
_WIND = (
    Clue("coil", before=MODALS, not_after=words("power energy")),
    Clue(
        "coil",
        after=words("up down the it your around back through its"),
        not_before=DETERMINERS
        | words("strong cold of no north south east west warm light high")
        | frozenset([""]),
    ),
    Clue("coil", after=words("up the it your"), first=True),
)
_CLOSE = (
    Clue("near", after=words("to by behind enough friend friends together call second relatives ties range")),
    Clue("shut", before=MODALS, not_after=words("to")),
    Clue("shut", first=True, after=DETERMINERS | OBJECTS),
    Clue(
        "near",
        before=words(
            "very so too come came get got stay stayed how quite as stand stood pretty really draw drew"
        ),
    ),
)
_RESUME = (Clue("paper", before=words("my a your his her their the our whose this")),)

CLUES: dict[str, tuple[Clue, ...]] = {
    "read": _READ, "reread": _READ, "live": _LIVE, "lives": _LIVES, "lead": _LEAD, "tear": _TEAR, "tears": _TEARS,
    "wound": _WOUND, "bass": _BASS, "minute": _MINUTE, "polish": _POLISH, "dove": _DOVE, "bow": _BOW, "wind": _WIND,
    "close": _CLOSE, "resume": _RESUME,
}  # fmt: skip
_VERB = (Clue("verb", before=words("i you we they to will would can could should must may might not")),)
CLUES |= {"object": _VERB, "project": _VERB}
CLUES["content"] = (
    Clue(
        "happy",
        before=words("is was are were am be been feel feels felt quite perfectly"),
        after=words("with to") | frozenset([""]),
    ),
)
